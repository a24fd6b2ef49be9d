"""What has been written is on the disk, whatever happens to the machine next."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

FULL: Final = (errno.ENOSPC, errno.EDQUOT)
"""Of an OSError: there is no room on the disk, or this user may have no more of it."""


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(temporary: Path, target: Path) -> None:
    """Make a written file durable, then visible."""
    sync(temporary)
    temporary.replace(target)
    sync(target.parent)


def write_whole(file: Path, content: bytes) -> None:
    """Write a small file so that it is there whole or, as on a full disk, as it was.

    Raises:
        DiskFullError: there is no room for it.
    """
    temporary = file.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with told_when_full(file):
            temporary.write_bytes(content)
            publish(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


class DiskFullError(OSError):
    """No room for a file; the message names it and says what to do."""


@contextmanager
def told_when_full(file: Path, needed: int | None = None) -> Iterator[None]:
    """Say of a full disk what was to be written, and what to do.

    Args:
        needed: bytes that it takes, about, where that is known.

    Raises:
        DiskFullError: ENOSPC or EDQUOT, from here or from a block inside, which knows its own file.
    """
    try:
        yield
    except DiskFullError:
        raise
    except OSError as error:
        if error.errno not in FULL:
            raise
        free = shutil.disk_usage(file.parent).free / 1024**2
        takes = "" if needed is None else f", and it takes about {needed / 1024**2:,.0f} MiB"
        # Of a chain of causes a run shows the innermost, which says neither file nor remedy.
        raise DiskFullError(
            error.errno,
            f"{file}: the disk is full ({free:,.0f} MiB free{takes}), so this could not be "
            "written. What was finished is kept: make room, then run the same again",
        ) from None
