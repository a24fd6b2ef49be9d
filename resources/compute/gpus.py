"""GPUs of this machine: how many there are, and who may run side by side on them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

DECLARED = "DASD_GPUS"
"""Environment variable: how many GPUs the pipeline may use, if not all that are found."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
DRIVER = Path("/proc/driver/nvidia/gpus")


class TooFewGpusError(ValueError):
    """Steps ask for more GPUs than there are; the message says what to change."""


def usable_gpus() -> list[str]:
    """GPUs that the pipeline may use, as CUDA names them: as many as declared, else all visible.

    Raises:
        TooFewGpusError: the declared number is none.
    """
    visible = os.environ.get(VISIBLE)
    if visible is not None:
        named = [gpu.strip() for gpu in visible.split(",")]
        found = [gpu for gpu in named if gpu not in ("", "-1")]
    else:
        found = _numbered(len(list(DRIVER.iterdir())) if DRIVER.is_dir() else 0)
    declared = os.environ.get(DECLARED)
    if declared is None:
        return found
    if not declared.isdecimal():
        raise TooFewGpusError(f"{DECLARED}={declared}: expected a number of GPUs, such as 8")
    return found[: int(declared)] if visible is not None else _numbered(int(declared))


def gpus_present() -> int:
    """How many GPUs the pipeline may use (`usable_gpus`)."""
    return len(usable_gpus())


def _numbered(gpus: int) -> list[str]:
    return [str(number) for number in range(gpus)]


def pool_limits(asked: Mapping[str, int], gpus: int) -> dict[str, int]:
    """Slots of each pool, so that steps begin that the GPUs can hold.

    A step can wait for one pool only. So the GPUs are divided where that can be: each pool has one
    slot, and what is left goes round, a slot at a time, to the pools that can use it. Where they
    are too few for a slot of each, every pool has as many as it could use alone, and steps that
    have begun wait for each other's GPUs (`gpu_lease.py`).

    Args:
        asked: pool -> GPUs of its largest step; pools without GPUs are left out of the result.
        gpus: GPUs of the machine.

    Raises:
        TooFewGpusError: one step alone asks for more.
    """
    asked = {pool: n for pool, n in sorted(asked.items()) if n}
    if too_large := ", ".join(f"{pool} ({n})" for pool, n in asked.items() if n > gpus):
        raise TooFewGpusError(
            f"one step of {too_large} asks for more GPUs than there are, {gpus} ({DECLARED} says "
            "otherwise). Lower `compute.….gpus` in the profile, or run it where there are more."
        )
    left = gpus - sum(asked.values())
    if left < 0:
        return {pool: gpus // n for pool, n in asked.items()}
    slots = dict.fromkeys(asked, 1)
    while any(n <= left for n in asked.values()):
        for pool, n in asked.items():
            if n <= left:
                slots[pool] += 1
                left -= n
    return slots
