"""DeepSpeed settings from the profile's, and the operator that it compiles at its first start."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

from training.settings import Training


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


def compile_operator() -> None:
    """Compile what DeepSpeed's ranks use between the processes of a machine, where that is missing.

    torch marks a compilation under way by a file, and whoever finds one waits for it to go: killed
    in between, it holds up every training after it for ever. Here the ranks and runs of a machine
    compile one after the other, under a lock that ends with its process, so that a mark that is
    found is of one that is dead.
    """
    from deepspeed.accelerator import get_accelerator
    from torch.utils.cpp_extension import _get_build_directory

    builder = get_accelerator().create_op_builder("ShareMemCommBuilder")
    if builder is None or not builder.is_compatible(verbose=False):
        return
    folder = Path(_get_build_directory(builder.name, verbose=False))
    with folder.with_name(f"{folder.name}.dasd-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "lock").unlink(missing_ok=True)
        builder.load(verbose=False)
