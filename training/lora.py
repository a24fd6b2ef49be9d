"""LoRA: adapters of a model's layers are trained in the place of its weights, then merged.

    W' = W + alpha / rank · B A,      A: rank x inputs, drawn;  B: outputs x rank, zero at first

The adapters are peft's. What is saved as the checkpoint is the merged model, so that whoever
samples, scores or releases it knows nothing of adapters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from training.errors import TrainingError
from training.settings import Lora


def adapted(model: Any, lora: Lora) -> PeftModel:
    """The model with adapters, of which alone the weights are trained; it computes as before.

    The adapters are float32, whatever the type of the model, as AdamW has to move them. The model's
    own object is changed too.

    Raises:
        TrainingError: `target_modules` names a module that the model does not have, or its output
            layer: merged, that one would change the embedding too where both are the same weights.
    """
    modules = lora.target_modules
    if isinstance(modules, tuple):
        output = model.get_output_embeddings()
        linear = (
            name
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and module is not output
        )
        has = sorted({name.rpartition(".")[2] for name in linear})
        if missing := [name for name in modules if name not in has]:
            raise TrainingError(
                f"lora.target_modules names {', '.join(missing)}, but {type(model).__name__} has "
                f"these linear layers besides the output layer: {', '.join(has)}"
            )
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=modules if isinstance(modules, str) else list(modules),
    )
    return get_peft_model(model, config)


def merged(model_path: str, adapter: Path) -> Any:
    """The starting model with an adapter merged into its weights, float32 [as the model's own].

    Read anew: the model that was trained is rounded to its compute type, and under ZeRO-3 spread
    over the ranks.

    Args:
        adapter: folder that peft has written.
    """
    # Else from_pretrained would spread this model over ranks that do not come here.
    unset_hf_deepspeed_config()
    model = AutoModelForCausalLM.from_pretrained(
        model_path, dtype=torch.float32, trust_remote_code=False
    )
    return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
