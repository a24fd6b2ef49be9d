"""A disk in memory for what tests write and nobody keeps: syncing to it takes no time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 4 * 1024**3


def memory_disk() -> Path | None:
    """Its folder; None where it is too small, as in a container, or programs in it cannot run."""
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ENOUGH_BYTES:
        return None
    return None if os.statvfs(MEMORY).f_flag & os.ST_NOEXEC else MEMORY
