"""What has been written is on the disk, whatever happens to the machine next."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DiskFullError(OSError):
    """No room for a file; the message names it and says what to do."""


@contextmanager
def told_when_full(file: Path) -> Iterator[None]:
    """Say of a full disk what was to be written, and what to do.

    Raises:
        DiskFullError: ENOSPC or EDQUOT, from here or from a block inside, which knows its own file.
    """
    try:
        yield
    except DiskFullError:
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(file.parent).free / 1024**2
        # Of a chain of causes a run shows the innermost, which says neither file nor remedy.
        raise DiskFullError(
            error.errno,
            f"{file}: the disk is full ({free:,.0f} MiB free), so this could not be written. What "
            "was finished is kept: make room, then run the same again",
        ) from None
