"""A training set on a machine's own disk: copied there once, mapped by all its ranks."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import socket
import time
from pathlib import Path
from typing import Final, TextIO

from resources.durable import sync
from resources.file_locks import try_lock
from resources.temporary_folder import own_temporary_folder
from training.progress import Report
from training.training_set import MAKE_ANEW, TrainingSetError, describe, describe_whole

PIECE: Final = 8 * 1024**2
"""Bytes that are read at a time."""
PARTIAL: Final = ".partial"
SECONDS_BETWEEN_LOOKS = 0.5

_mapped: list[TextIO] = []
"""Locks of the copies that this process maps; held until it ends."""


def local_copy(training_set: Path, folder: str, report: Report) -> Path:
    """The copy of a set on this machine; the first rank that asks makes it, the others wait.

    Copies of other sets that no process maps are deleted when another one is made.

    Args:
        folder: where the machine's copies are; empty: a folder of this user's below the machine's
            temporary folder.

    Raises:
        TrainingSetError: the machine's disk cannot hold the set, or what was read is not what was
            made.
    """
    description = describe(training_set)
    below = Path(folder) if folder else own_temporary_folder("dasd-training-sets")
    below.mkdir(parents=True, exist_ok=True)
    copy = below / description.content_hash
    lock = copy.with_suffix(".lock").open("a", encoding="ascii")
    _mapped.append(lock)
    while True:
        fcntl.flock(lock, fcntl.LOCK_SH)  # from now on nobody deletes what is there
        if _is_whole(copy):
            return copy
        if not try_lock(lock):
            # Two that hold it shared would wait for each other to have it alone.
            fcntl.flock(lock, fcntl.LOCK_UN)
            time.sleep(SECONDS_BETWEEN_LOOKS)
            continue
        if not _is_whole(copy):
            _delete_unused(below)
            sums = {name: file.sha256 for name, file in description.files.items()}
            _copy(training_set, copy, sums, report)


def _is_whole(copy: Path) -> bool:
    """Whether there is a copy; what cleans temporary folders may have taken files of it."""
    try:
        describe_whole(copy)
    except TrainingSetError:
        return False
    return True


def _copy(training_set: Path, copy: Path, sums: dict[str, str], report: Report) -> None:
    host = socket.gethostname()
    files = [file for file in training_set.iterdir() if file.is_file()]
    n_bytes = sum(file.stat().st_size for file in files)
    partial = copy.with_suffix(PARTIAL)
    for left in (partial, copy):
        shutil.rmtree(left, ignore_errors=True)
    if n_bytes > (free := shutil.disk_usage(copy.parent).free):
        raise TrainingSetError(
            f"{host}: the training set {training_set} takes {n_bytes:,} bytes, and {copy.parent} "
            f"has {free:,} free. Make room there, or set compute.training.local_folder to a disk "
            "that every machine has and that holds it"
        )
    report(f"progress: copying the training set to {host}:{copy} ({n_bytes:,} bytes)")
    partial.mkdir()
    for file in files:
        sha256 = _copied(file, partial / file.name)
        if sums.get(file.name, sha256) != sha256:
            raise TrainingSetError(
                f"{host}: {file} was read with other bytes than were made. {MAKE_ANEW}"
            )
        sync(partial / file.name)
    partial.rename(copy)


def _copied(source: Path, target: Path) -> str:
    """Copy a file a piece at a time; the hash of what was read."""
    sha256 = hashlib.sha256()
    with source.open("rb") as read, target.open("wb") as written:
        while piece := read.read(PIECE):
            sha256.update(piece)
            written.write(piece)
    return sha256.hexdigest()


def _delete_unused(below: Path) -> None:
    """Delete copies that no process of this machine maps."""
    for file in below.glob("*.lock"):
        with file.open("a", encoding="ascii") as lock:
            if not try_lock(lock):
                continue
            for left in (file.with_suffix(""), file.with_suffix(PARTIAL)):
                shutil.rmtree(left, ignore_errors=True)
