"""On how few GPUs a training fits, by the formula of memory: as it is set, in full, with LoRA."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dasd_assets.models.training_memory import training_bytes
from dasd_assets.profile import ModelShape
from resources.compute.declared import GIB, Compute
from training.settings import Lora, Training

GPUS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Way:
    """A way to train.

    Attributes:
        training: the settings that it is a variant of.
        gpus: the fewest of `GPUS` on which it fits; None: on none of them. As it is set: the
            processes.
        n_bytes: that a step takes of each; None: it fits on none.
    """

    training: str
    way: str
    gpus: int | None
    n_bytes: float | None
    gpu_memory_gib: float


def ways(
    name: str, training: Training, shape: ModelShape | None, compute: Compute
) -> Iterator[Way]:
    """Each way with the fewest GPUs of the declared memory that hold it.

    Sequences are as long as the settings say. Several GPUs are under ZeRO-3, one is without
    DeepSpeed. Cutting a sequence over GPUs (Ulysses) is reckoned and not offered: docs/training.md
    says why.
    """
    if not compute.gpus or not compute.gpu_memory_gib or shape is None:
        return
    memory = compute.gpu_memory_gib
    yield Way(name, "as set", training.processes, training_bytes(shape, training), memory)
    full, adapted = {"lora": None}, {"lora": training.lora or Lora()}
    whole = _fewest(training, full, shape, memory)
    yield Way(name, "full fine-tuning", *whole, memory)
    if whole[0] != 1:
        cut = _fewest(training, full, shape, memory, is_cut=True)
        yield Way(name, "full, each sequence cut over all (Ulysses: not offered)", *cut, memory)
    few = _fewest(training, adapted, shape, memory)
    yield Way(name, f"LoRA of rank {adapted['lora'].rank}", *few, memory)


def _fewest(
    training: Training,
    changes: dict[str, Any],
    shape: ModelShape,
    memory_gib: float,
    *,
    is_cut: bool = False,
) -> tuple[int | None, float | None]:
    """The fewest GPUs that hold a variant, and bytes of each; a sequence is cut by whole heads."""
    for gpus in GPUS:
        over = {"processes": gpus, "deepspeed_zero_stage": 3 if gpus > 1 else 0}
        variant = training.model_copy(update={**changes, **over})
        n_bytes = training_bytes(shape, variant, min(gpus, shape.heads) if is_cut else 1)
        if n_bytes <= memory_gib * GIB:
            return gpus, n_bytes
    return None, None
