"""How much a file may unpack to: a few kilobytes can hold a text of terabytes."""

from __future__ import annotations

from pathlib import Path

from dasd_assets.questions.reading.rows import DropError

MOST_TIMES = 200
"""Of its own size. Text that somebody wrote is packed to a twentieth at best."""
ALWAYS_BYTES = 256 * 1024**2
"""So much any file may unpack to."""
ROW_BYTES = 100
"""A row counts as this at least, as it is this in memory, be it an empty line."""


class Unpacked:
    """What has been unpacked of one file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.most = max(ALWAYS_BYTES, MOST_TIMES * file.stat().st_size)
        self._n_bytes = 0

    def add(self, n_bytes: int, n_rows: int = 1) -> None:
        """Count rows, and the bytes of them together.

        Raises:
            DropError: the file has unpacked to more than it may.
        """
        self._n_bytes += max(n_bytes, n_rows * ROW_BYTES)
        if self._n_bytes > self.most:
            raise self.too_much()

    def too_much(self) -> DropError:
        """The error of a file that unpacks to more than it may."""
        return DropError(
            f"{self._file}: its {self._file.stat().st_size:,} bytes unpack to more than "
            f"{self.most:,} ({MOST_TIMES} times its size, {ALWAYS_BYTES:,} at least). If that is "
            f"right, split it into files that unpack to at most {ALWAYS_BYTES:,} bytes each."
        )
