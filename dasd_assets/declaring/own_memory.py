"""Memory that a process has for itself, at its peak."""

from __future__ import annotations

from pathlib import Path

STATUS = Path("/proc/self/status")
PAGES = Path("/proc/self/smaps_rollup")
SHARED = ("Shared_Clean:", "Shared_Dirty:", "Shared_Hugetlb:")


def peak_own_bytes() -> int | None:
    """The most memory that this process has had, without what it shares with others.

    A step is forked with its libraries imported: these are in memory once, however many steps run
    side by side, and so is everything else of the parent's that a step does not write to. Linux
    counts such pages as the step's all the same, in `ru_maxrss` as in what `ps` shows. What a
    machine has to have for one more step is the rest: the pages that the step has written, and
    files that it alone has mapped.

    The kernel keeps the peak of all pages, but not that of the step's own, so the pages that are
    shared now are taken off the peak. A step whose own children share its memory, as after a fork,
    is told less than it had.

    Returns:
        None where the kernel does not tell (before Linux 4.14, in some sandboxes).
    """
    try:
        peak = _kib(STATUS, "VmHWM:")
        shared = _kib(PAGES, *SHARED)
    except OSError:
        return None
    return (peak - shared) * 1024


def _kib(file: Path, *names: str) -> int:
    lines = [line.split() for line in file.read_text(encoding="ascii").splitlines()]
    return sum(int(line[1]) for line in lines if line[0] in names)
