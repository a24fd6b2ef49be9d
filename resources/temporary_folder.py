"""Folders in the machine's shared temporary folder, where anybody may have been first."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path


class ForeignFolderError(OSError):
    """Something stands where a folder of ours is to be; the message names it and the remedy."""


def own_temporary_folder(name: str) -> Path:
    """A folder of this user alone, made where it is missing.

    Raises:
        ForeignFolderError: a link, a file, or another user's folder is there.
    """
    folder = Path(tempfile.gettempdir(), f"{name}-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ForeignFolderError(
            f"{folder}: is a link, or not yours, so that others could read what is put there. "
            "Remove it, or set TMPDIR to a folder of your own."
        )
    folder.chmod(0o700)
    return folder


def check_common_folder(folder: Path) -> None:
    """Whether a folder that all users share lets none of them replace another's files.

    Raises:
        ForeignFolderError: it is a link, no folder, or others may rename what is in it.
    """
    mode = folder.lstat().st_mode
    if not stat.S_ISDIR(mode) or (mode & stat.S_IWOTH and not mode & stat.S_ISVTX):
        raise ForeignFolderError(
            f"{folder}: is a link, no folder, or one in which everybody may replace anybody's "
            f"files. Remove it, or `chmod +t {folder}`."
        )
