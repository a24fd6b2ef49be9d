"""How many files and connections this process may have open."""

from __future__ import annotations

import resource

OWN_FILES = 1024
"""What a process has open besides: libraries, journals, logs."""


def allow_connections(n: int) -> None:
    """Raise this process's limit of open files so that it may have so many connections.

    The usual limit is 1,024. Where even the highest that the machine allows is too low, that one is
    taken.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = n + OWN_FILES
    if hard != resource.RLIM_INFINITY:
        needed = min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
