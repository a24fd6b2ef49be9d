"""How many runs go side by side: as many as the declared cores leave room for."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of CPU that a container may use in each period, or "max", and the period."""


def usable_cores(quota: Path = QUOTA) -> float:
    """Cores that this process may use, of the machine or of its container."""
    cores = float(len(os.sched_getaffinity(0)))
    if quota.is_file():
        allowed, period = quota.read_text(encoding="ascii").split()
        if allowed != "max":
            cores = min(cores, int(allowed) / int(period))
    return cores


def has_room(running: Collection[float], wanted: float, cores: float) -> bool:
    """Whether a run fits beside others; alone any run does, whatever it declares.

    Args:
        running: cores that the others declare.
        wanted: cores that it declares.
    """
    return not running or sum(running) + wanted <= cores
