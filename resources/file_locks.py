"""Locks of open files, which the kernel frees when the process that holds them ends."""

from __future__ import annotations

import fcntl
from typing import IO


def try_lock(file: int | IO[str] | IO[bytes], how: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file, unless another holds it; tells whether it is locked.

    Args:
        how: LOCK_EX, for oneself, or LOCK_SH. A lock that is held already is changed to this; if
            that cannot be had, it may be lost.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
