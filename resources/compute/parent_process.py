"""A process that the kernel ends when the one that started it is gone, however it ended."""

from __future__ import annotations

import ctypes
import os
import signal

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int, how: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel signal this process when its parent is gone; it may be gone already.

    The kernel means the parent's thread: one that starts a process so must not end before it.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, how)
    if os.getppid() != parent:  # it ended before the kernel was told
        os._exit(1)
