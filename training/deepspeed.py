"""DeepSpeed settings from the profile's."""

from __future__ import annotations

from typing import Any

from dasd_assets.profile import Training


def deepspeed_config(training: Training) -> dict[str, Any]:
    """ZeRO settings for the transformers Trainer; "auto" takes over the Trainer's own value."""
    zero: dict[str, Any] = {"stage": training.deepspeed_zero_stage}
    if training.deepspeed_zero_stage == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    return {
        "zero_optimization": zero,
        "bf16": {"enabled": training.dtype == "bfloat16"},
        "gradient_clipping": training.max_grad_norm,
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
    }
