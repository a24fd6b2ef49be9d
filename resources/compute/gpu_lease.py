"""Which GPUs of this machine a step uses: a lock file for each, held as long as the step lives.

Pools count GPUs, they do not name them: two steps of one GPU each would both take the first. A step
therefore holds the lock files of its GPUs, and CUDA shows it only these. The kernel frees a lock
when its process ends, however it ends. Whoever waits holds the queue's lock, so that a step that
needs all GPUs is not passed for ever by steps that need one. It also holds, of each GPU that it
could use, a lock that says so: an engine that nobody uses at the time then gives its GPUs up
(`resources/engines/kept/`).
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from resources.compute.gpus import DECLARED, VISIBLE, TooFewGpusError, usable_gpus
from resources.file_locks import try_lock
from resources.temporary_folder import check_common_folder

LEASED = "DASD_LEASED_GPUS"
"""Environment variable: lock files that the programs a step starts have to hold as well."""
LOCKS = "DASD_GPU_LOCKS"
"""Environment variable: folder of the lock files; containers that share GPUs have to share it."""
SECONDS_BETWEEN_TRIES = 0.5

_held: dict[str, int] = {}
"""GPU -> open lock file of this process."""
_wait: tuple[float, float] | None = None
"""When this process began to wait for its GPUs, and for how many seconds; they are its last."""


def lease_gpus(gpus: int, work: str, waiting: Callable[[str], None]) -> list[str]:
    """Hold so many GPUs until this process ends, and show CUDA no other; waits until they are free.

    CUDA keeps the GPUs that it has seen first: call it before anything uses one; a second call in a
    process gets what the first one got. Where no GPU is known nothing is held.

    Args:
        gpus: how many; 0 holds none.
        work: what asks for them, for the message.
        waiting: is told once when others hold them.

    Returns:
        The GPUs as CUDA_VISIBLE_DEVICES names them; empty where none is asked for or known.

    Raises:
        TooFewGpusError: there are not so many.
    """
    global _wait
    known = check_gpus(gpus, work)
    if not gpus or not known:
        return []
    if not _held:
        began, start = time.time(), time.monotonic()
        _wait_for(gpus, known, waiting)
        _wait = began, time.monotonic() - start
        os.environ[VISIBLE] = ",".join(_held)
        folder = _folder()
        os.environ[LEASED] = os.pathsep.join(str(folder / _file_name(gpu)) for gpu in _held)
    return list(_held)


def check_gpus(gpus: int, work: str) -> list[str]:
    """The GPUs that this process could lease some of; nobody's wait is asked for.

    Raises:
        TooFewGpusError: there are fewer than `gpus`, though some.
    """
    known = list(_held) or usable_gpus()
    if known and gpus > len(known):
        raise TooFewGpusError(
            f"{work} asks for {gpus} GPU(s), this {'process' if _held else 'machine'} has "
            f"{len(known)} ({VISIBLE} and {DECLARED} may say fewer than there are). Lower "
            "`compute.….gpus` in the profile, or run it where there are more."
        )
    return known


def seconds_waited(since: float) -> float | None:
    """How long this process waited for its GPUs, if it took any since then.

    Args:
        since: seconds of the epoch; what an earlier step of the process waited is not this one's.
    """
    return _wait[1] if _wait and _wait[0] >= since else None


def note_wait(began: float, seconds: float) -> None:
    """Take the wait of a program that holds GPUs in this process's stead for its own."""
    global _wait
    _wait = began, seconds


def holds_gpus() -> bool:
    """Whether this process holds GPUs, which no other can have before it ends."""
    return bool(_held)


def wanted(gpus: Sequence[str]) -> bool:
    """Whether somebody waits who could use one of these GPUs."""
    for gpu in gpus:
        lock = _open(_folder() / _wanted_name(gpu))
        try:
            if not try_lock(lock, fcntl.LOCK_SH):  # who looks is not taken for one who waits
                return True
        finally:
            os.close(lock)
    return False


def keep_leased_gpus() -> None:
    """Hold the GPUs of the step that started this program too, in case that the step is killed."""
    for file in os.environ.get(LEASED, "").split(os.pathsep):
        if file:
            fcntl.flock(_open(Path(file)), fcntl.LOCK_SH)


def hold_gpus(gpus: list[str], waiting: Callable[[str], None]) -> None:
    """Hold the GPUs that another scheduler chose for this process, until it ends.

    Args:
        gpus: as CUDA_VISIBLE_DEVICES of the machine names them; what CUDA is shown stays as it is.
        waiting: is told when steps outside of that scheduler hold them.
    """
    if gpus:
        _wait_for(len(gpus), gpus, waiting)


def _wait_for(gpus: int, known: list[str], waiting: Callable[[str], None]) -> None:
    folder = _folder()
    queue = _open(folder / "queue.lock")
    asked_for: list[int] = []
    try:
        if not try_lock(queue):
            waiting("progress: waiting behind another step for free GPUs")
            fcntl.flock(queue, fcntl.LOCK_EX)
        while not _take(gpus, known, folder):
            if not asked_for:
                for gpu in known:
                    asked_for.append(_open(folder / _wanted_name(gpu)))
                    fcntl.flock(asked_for[-1], fcntl.LOCK_EX)
                waiting(f"progress: waiting for {gpus} free GPU(s) of {len(known)}")
            time.sleep(SECONDS_BETWEEN_TRIES)
    finally:
        for lock in (*asked_for, queue):
            os.close(lock)


def _take(gpus: int, known: list[str], folder: Path) -> bool:
    """Lock so many of the known GPUs, all or none."""
    taken: dict[str, int] = {}
    for gpu in known:
        if len(taken) == gpus:
            break
        lock = _open(folder / _file_name(gpu))
        if try_lock(lock):
            taken[gpu] = lock
        else:
            os.close(lock)
    if len(taken) < gpus:
        for lock in taken.values():
            os.close(lock)
        return False
    for lock in taken.values():
        # Shared from now on, with the programs that this process starts; nobody else can come
        # between, as only the holder of the queue's lock tries.
        fcntl.flock(lock, fcntl.LOCK_SH)
    _held.update(taken)
    return True


def _folder() -> Path:
    """Where the lock files are: one place for all data folders and users of this machine."""
    folder = Path(os.environ.get(LOCKS) or Path(tempfile.gettempdir()) / "dasd-gpus")
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)
    if not os.environ.get(LOCKS):
        check_common_folder(folder)
    return folder


def _file_name(gpu: str) -> str:
    return f"{gpu.replace('/', '_')}.lock"


def _wanted_name(gpu: str) -> str:
    return f"wanted-{_file_name(gpu)}"


def _open(file: Path) -> int:
    """Open for locking; made where it is missing, readable for every user of the machine."""
    # Neither a link nor a pipe that somebody else has put there leads or holds anybody.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(file, flags)
    except FileNotFoundError:
        return os.open(file, flags | os.O_CREAT, 0o644)
