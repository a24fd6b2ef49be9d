"""One process at a time, of all that share a folder, does a piece of work: it holds a lock file.

The kernel frees the lock when its process ends, however it ends, so that nobody waits for one that
is gone, and nobody goes on who has lost it. Over NFS the server does the same for all its clients.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(file: Path, work: str, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock file while a block lasts; waits as long as another process holds it.

    Args:
        file: made where it is missing; it stays.
        work: what is done under the lock, for messages.
        waiting: is told once if another process holds it.

    Raises:
        OSError: the folder's file system has no locks.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    # Open for writing, as NFS makes it a lock of the file's bytes.
    with file.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting(f"progress: waiting until another process has ended {work} (it holds {file})")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise OSError(
                error.errno,
                f"{file}: the file system has no locks ({error.strerror}), so that {work} could be "
                "done twice at once. Mount it with locks (Lustre: -o flock), or put the lake "
                "elsewhere: on another disk or in a bucket (`dasd docs object-store`)",
            ) from error
        try:
            yield
        finally:
            # Not by closing: a process that was forked meanwhile has the file open, too.
            fcntl.flock(lock, fcntl.LOCK_UN)
