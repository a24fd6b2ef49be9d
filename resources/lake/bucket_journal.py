"""Journals whose finished requests go into the bucket, piece by piece, while they are written.

Nothing can be appended to an object. The journal is a local file as ever; what it has gained goes
up as a new object every few seconds, a small journal of its own. On another machine, what all these
objects hold goes into the local file before anything is asked.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from resources.engines.journal_copies import CopiedJournal
from resources.engines.journal_records import HEADER, read_record, scan
from resources.engines.protocol import Completion
from resources.lake.bucket import Bucket

SECONDS_BETWEEN_COPIES = 10.0
MAX_BYTES_WITHOUT_COPY = 8 * 1024**2
"""A killed machine loses at most what came in during the seconds, or so many bytes."""

CHUNK_BYTES = 1024**2

_logger = logging.getLogger(__name__)


class BucketJournal(CopiedJournal):
    """A local journal with copies below one key of a bucket."""

    _bucket: Bucket
    _key: str
    _last: float

    @classmethod
    def at(cls, file: Path, bucket: Bucket, key: str) -> BucketJournal:
        """A journal of which nothing is copied yet.

        Args:
            key: below it lie the copies.
        """
        journal = cls(file)
        journal._bucket, journal._key, journal._last = bucket, key, time.monotonic()
        journal.copied = len(HEADER)
        return journal

    def restored(self) -> Iterator[Completion]:
        """Finished requests in the copies.

        Raises:
            ObjectStoreError: they cannot be read.
            JournalError: they are of another version.
        """
        for key in self._bucket.keys(f"{self._key}/"):
            with tempfile.TemporaryDirectory(dir=self.parent) as folder:
                piece = Path(folder, "piece")
                if (stored := self._bucket.stored(key)) is None:
                    continue  # deleted since it was listed
                self._bucket.download(key, stored, piece)
                with piece.open("rb") as file:
                    scanned = scan(file, f"{self._bucket.uri}/{key}")
                    for start, end in scanned.unreadable:
                        _logger.warning(
                            "%s/%s: bytes %d to %d cannot be read",
                            self._bucket.uri,
                            key,
                            start,
                            end,
                        )
                    for offset in scanned.offsets.values():
                        if (completion := read_record(file, offset)) is not None:
                            yield completion

    def copy(self, end: int, now: bool = False) -> None:
        """Copy what the file has gained; where the store does not take it, that is tried again.

        The sampling goes on meanwhile: the file itself is what a retry on this machine needs.
        """
        n_bytes = end - self.copied
        is_due = time.monotonic() - self._last >= SECONDS_BETWEEN_COPIES
        if n_bytes <= 0 or not (now or is_due or n_bytes >= MAX_BYTES_WITHOUT_COPY):
            return
        self._last = time.monotonic()
        try:
            with tempfile.NamedTemporaryFile(dir=self.parent) as piece:
                self._write_piece(piece, end)
                key = f"{self._key}/{time.time_ns()}-{uuid.uuid4().hex[:8]}"
                self._bucket.upload(Path(piece.name), key)
        except OSError as error:
            _logger.warning("the journal is on this machine alone for now: %s", error)
            return
        self.copied = end

    def _write_piece(self, piece: IO[bytes], end: int) -> None:
        piece.write(HEADER)
        with self.open("rb") as file:
            for start in range(self.copied, end, CHUNK_BYTES):
                piece.write(os.pread(file.fileno(), min(CHUNK_BYTES, end - start), start))
        piece.flush()

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the copies and the file."""
        self._bucket.delete(self._bucket.keys(f"{self._key}/"))
        super().unlink(missing_ok)
