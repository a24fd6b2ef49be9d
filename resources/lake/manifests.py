"""Manifests in a lake: written with each file, asked by each reader."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple, Protocol

from resources.lake.manifest import SUFFIX, FileRecord, Manifest, ManifestError

_logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """A file as a list of a lake's files has it."""

    n_bytes: int
    changed: int
    """Nanoseconds since 1970, by the clock of whoever keeps the files; nobody can set it back."""


class Files(Protocol):
    """What a lake's files are kept in; names are paths below its root."""

    def content(self, name: str) -> bytes | None:
        """A small file; None if there is none."""

    def put(self, name: str, content: bytes) -> None:
        """Write a small file atomically."""

    def known_record(self, name: str) -> FileRecord | None:
        """The record of a file as it is now, of which nothing but its bytes is known."""


def manifest_of(files: Files, name: str) -> Manifest | None:
    """The manifest of a file; None if it has none.

    Raises:
        ManifestError: it cannot be read.
    """
    stored = files.content(name + SUFFIX)
    return None if stored is None else Manifest.from_json(stored)


@contextmanager
def recorded(files: Files, name: str, record: FileRecord) -> Iterator[None]:
    """Inside, the file is replaced by another one; at each moment its manifest knows what is there.

    Args:
        record: the new one.
    """
    try:
        before = manifest_of(files, name)
    except ManifestError:
        before = None
    if before is None:
        replaces: tuple[FileRecord | None, ...] = (files.known_record(name),)
    else:
        # Of a write that was killed nobody knows which it left.
        replaces = (before.file, *before.replaces)
    files.put(name + SUFFIX, Manifest(record, tuple(dict.fromkeys(replaces))).to_json())
    yield
    files.put(name + SUFFIX, Manifest(record).to_json())


def mark(files: Files, name: str, problem: str) -> None:
    """Remember that a file is damaged, so that it is made again; writing it anew takes that back.

    Where nothing can be written, it is found again by the next reader.
    """
    try:
        manifest = manifest_of(files, name) or Manifest(None)
        files.put(name + SUFFIX, replace(manifest, damage=problem).to_json())
    except ManifestError:
        return  # which is damage enough to be made again
    except OSError as error:
        _logger.warning("%s: %s, which could not be noted: %s", name, problem, error)
