"""The types in which weights are held, moved by the optimiser, and saved."""

from __future__ import annotations

from typing import Any

import torch

from training.settings import Training


def loaded_type(training: Training) -> torch.dtype:
    """The type in which a model is loaded to be trained.

    What AdamW moves has to be float32: its steps are smaller than half of the last place that most
    weights have in bfloat16, so that rounding would take back each of them. Under `bfloat16` the
    Trainer's autocast rounds for each pass. DeepSpeed rounds the model itself, whatever the type it
    is given, and moves float32 weights of its own. With LoRA the model is not moved, and its
    adapters are float32 whatever its type.
    """
    is_moved = not training.deepspeed_zero_stage and not training.lora
    return torch.float32 if is_moved else getattr(torch, training.dtype)


def in_type(model: Any, dtype: torch.dtype) -> Any:
    """A model as `from_pretrained` loads it in this type, with the architecture's exceptions."""
    if model.dtype == dtype:
        return model
    other = type(model).from_pretrained(
        None,
        config=model.config,
        state_dict=model.state_dict(),
        dtype=dtype,
        trust_remote_code=False,
    )
    other.generation_config = model.generation_config
    return other
