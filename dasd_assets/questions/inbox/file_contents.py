"""Hashes of the whole content of files, each read once, and only so much of them in one look.

A tick of the inbox sensor has a minute, and a large drop takes longer to read. What one look has
hashed this process remembers, so that the next one goes on behind it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

PIECE_BYTES = 256 * 1024**2
"""A larger file is hashed in pieces of this size, and its hash is that of their hashes."""
CHUNK_BYTES = 1024**2

_File = tuple[str, int, int, int]

_hashed: dict[_File, dict[int, str]] = {}
"""Hashes of pieces, by where they start, of files that are being read."""


def identity(file: Path, stat: os.stat_result) -> _File:
    """What tells a file from the one that was there before, without reading it."""
    return str(file), stat.st_size, stat.st_mtime_ns, stat.st_ino


class LimitedReader:
    """Reads files for one look."""

    def __init__(self, most_bytes: float) -> None:
        """Begin a look.

        Args:
            most_bytes: a piece is begun as long as fewer bytes have been read.
        """
        self._left = most_bytes

    def content(self, file: Path, stat: os.stat_result) -> str | None:
        """Hash of what is in a file; None while there is more to read than this look may."""
        pieces = _hashed.setdefault(identity(file, stat), {})
        for start in range(0, max(stat.st_size, 1), PIECE_BYTES):
            if start not in pieces:
                if self._left <= 0:
                    return None
                pieces[start] = _hash_piece(file, start)
                self._left -= min(stat.st_size - start, PIECE_BYTES)
        hashes = [pieces[start] for start in sorted(pieces)]
        return (
            hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
        )

    def forget(self, file: Path, stat: os.stat_result) -> None:
        """Keep nothing of a file whose hash somebody else remembers from now on."""
        _hashed.pop(identity(file, stat), None)


def _hash_piece(file: Path, start: int) -> str:
    digest, left = hashlib.sha256(), PIECE_BYTES
    with file.open("rb") as opened:
        opened.seek(start)
        while left > 0 and (chunk := opened.read(min(left, CHUNK_BYTES))):
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()
