"""What is compared of a shard's questions, to be had row by row: id, domain, all that is said.

In a Parquet file one question costs the reading of its whole row group.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dasd_assets.questions.curation.index.sorted_runs import DamagedIndexError

_OFFSET_BYTES, _CHECKSUM_BYTES = 8, 4


class Row(NamedTuple):
    """One question, its texts normalised."""

    question_id: str
    domain: str
    conversation: str


@dataclass(frozen=True)
class RowsRecord:
    """What was written.

    Attributes:
        n_rows: questions.
        n_bytes: of the texts.
        end: CRC-32 of the end, which has where each row begins, and its CRC-32.
    """

    n_rows: int
    n_bytes: int
    end: int


def write_rows(file: Path, rows: Iterable[Row]) -> RowsRecord:
    """Write the rows of a shard; only where they begin and their checksums are held in memory."""
    begins, checksums, n_bytes = list[int](), list[int](), 0
    with file.open("wb") as stream:
        for row in rows:
            content = "\0".join(row).encode()
            stream.write(content)
            begins.append(n_bytes)
            checksums.append(zlib.crc32(content))
            n_bytes += len(content)
        end = np.array(begins, "<u8").tobytes() + np.array(checksums, "<u4").tobytes()
        stream.write(end)
    return RowsRecord(len(begins), n_bytes, zlib.crc32(end))


def read_rows(file: Path, record: RowsRecord, numbers: list[int], max_bytes: int) -> list[Row]:
    """The first of some rows of a shard, at least one, and as many as have so many bytes.

    Args:
        file: what `write_rows` wrote.
        record: what that gave.
        numbers: of the rows, in the order in which they are wanted.
        max_bytes: of the texts that are read.

    Raises:
        DamagedIndexError: the file is gone, or not what was written.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        raise DamagedIndexError(file.name, "is gone") from None
    try:
        n = record.n_rows
        end = os.pread(descriptor, n * (_OFFSET_BYTES + _CHECKSUM_BYTES), record.n_bytes)
        if zlib.crc32(end) != record.end:
            raise DamagedIndexError(file.name, "is not what was written")
        begins = np.append(np.frombuffer(end, "<u8", n), np.uint64(record.n_bytes))
        checksums = np.frombuffer(end, "<u4", n, n * _OFFSET_BYTES)
        found, n_read = list[Row](), 0
        for number in numbers:
            begin, stop = int(begins[number]), int(begins[number + 1])
            n_read += stop - begin
            if found and n_read > max_bytes:
                break
            content = os.pread(descriptor, stop - begin, begin)
            if zlib.crc32(content) != checksums[number]:
                raise DamagedIndexError(file.name, "is not what was written")
            found.append(Row(*content.decode().split("\0", 2)))
        return found
    finally:
        os.close(descriptor)
