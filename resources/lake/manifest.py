"""What a file of the lake was when it was written: its manifest, a small JSON file beside it.

`data.parquet` has `data.parquet.manifest.json`. It is written before the file is replaced, with
what may be there until then, and once more after it: after a kill at any moment the file that is
there, old or new, is one that the manifest knows.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow.parquet as pq

from resources.lake.table import ContractError

SUFFIX: Final = ".manifest.json"
FOOTER_END: Final = 8
"""Bytes at the end of a Parquet file that say how long the footer before them is."""
MAGIC: Final = b"PAR1"

_PIECE_BYTES = 1024**2


class DamagedError(ContractError):
    """A file of the lake is not what was written; the message names asset, partition and file."""


class ManifestError(ValueError):
    """A manifest that cannot be read."""


@dataclass(frozen=True)
class FileRecord:
    """One version of a file.

    Attributes:
        n_rows: of a Parquet file.
        footer: CRC-32 of its footer.
        chunks: CRC-32 of each column chunk of each row group, page headers included, which the
            page checksums inside the file leave out: what is read of a file can be verified
            without reading the rest.
    """

    sha256: str
    n_bytes: int
    n_rows: int | None = None
    footer: int | None = None
    chunks: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Manifest:
    """What may be at a file's place.

    Attributes:
        file: what was written last; None for a file that was written before there were manifests.
        replaces: until it is sure that it is there: what it replaces, None being no file at all.
        damage: what a reader found wrong with the file.
    """

    file: FileRecord | None
    replaces: tuple[FileRecord | None, ...] = ()
    damage: str | None = None

    @property
    def versions(self) -> list[FileRecord]:
        """What may be there, the newest first."""
        return [one for one in (self.file, *self.replaces) if one is not None]

    def to_json(self) -> bytes:
        """As it is stored, with a checksum of its own."""
        return checksummed("manifest", asdict(self))

    @classmethod
    def from_json(cls, stored: bytes) -> Manifest:
        """Read what `to_json` wrote.

        Raises:
            ManifestError: it is something else, or damaged.
        """
        try:
            found = of_checksummed("manifest", stored)
            return cls(
                _record(found["file"]), tuple(map(_record, found["replaces"])), found["damage"]
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ManifestError(str(error)) from None


def checksummed(kind: str, content: dict[str, Any]) -> bytes:
    """JSON with a checksum of its own, as small files are stored that say what others hold."""
    inner = json.dumps(content, separators=(",", ":"))
    return json.dumps({"crc32": zlib.crc32(inner.encode()), kind: inner}).encode()


def of_checksummed(kind: str, stored: bytes) -> Any:
    """What `checksummed` was given.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is something else, or damaged.
    """
    outer = json.loads(stored)
    if zlib.crc32(outer[kind].encode()) != outer["crc32"]:
        raise ValueError("checksum")
    return json.loads(outer[kind])


def _record(found: dict[str, Any] | None) -> FileRecord | None:
    if found is None:
        return None
    return FileRecord(**{**found, "chunks": tuple(map(tuple, found["chunks"]))})


def record_of(content: bytes) -> FileRecord:
    """The record of a file with this content."""
    return FileRecord(hashlib.sha256(content).hexdigest(), len(content))


def sha256_of(file: Path) -> str:
    """Hash of a whole file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def plain_record(file: Path) -> FileRecord:
    """The record of a file of which nothing but its bytes is known."""
    return FileRecord(sha256_of(file), file.stat().st_size)


def parquet_record(file: Path) -> FileRecord:
    """The record of a Parquet file that was just written."""
    footer = pq.read_metadata(file)
    with file.open("rb") as stream:
        chunks = tuple(
            tuple(
                crc32_of(stream, *chunk_range(footer, group, column))
                for column in range(footer.num_columns)
            )
            for group in range(footer.num_row_groups)
        )
        n_bytes = stream.seek(0, 2)
        return FileRecord(
            sha256_of(file), n_bytes, footer.num_rows, footer_crc(stream, n_bytes), chunks
        )


def chunk_range(footer: pq.FileMetaData, group: int, column: int) -> tuple[int, int]:
    """First byte of a column chunk, and how many there are."""
    chunk = footer.row_group(group).column(column)
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        start = min(start, chunk.dictionary_page_offset)
    return start, chunk.total_compressed_size


def footer_crc(file: BinaryIO, n_bytes: int) -> int | None:
    """CRC-32 of a Parquet file's footer and its end; None if it does not end or begin as one."""
    if n_bytes < len(MAGIC) + FOOTER_END:
        return None
    file.seek(0)
    begin = file.read(len(MAGIC))
    file.seek(n_bytes - FOOTER_END)
    end = file.read(FOOTER_END)
    start = n_bytes - FOOTER_END - int.from_bytes(end[:4], "little")
    if begin != MAGIC or end[4:] != MAGIC or start < len(MAGIC):
        return None
    return crc32_of(file, start, n_bytes - start)


def crc32_of(file: BinaryIO, start: int, n_bytes: int) -> int:
    """CRC-32 of some bytes of a file; of fewer where it ends before."""
    file.seek(start)
    crc = 0
    while n_bytes and (piece := file.read(min(n_bytes, _PIECE_BYTES))):
        crc = zlib.crc32(piece, crc)
        n_bytes -= len(piece)
    return crc
