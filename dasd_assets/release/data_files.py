"""The released training sets as Parquet files of bounded size, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from resources.lake.parquet_layout import ROW_GROUP_BYTES, row_groups, writer_options

SPLIT = "train"


@dataclass(frozen=True)
class DataFiles:
    """The files of one configuration."""

    names: list[str]
    """Relative to the release, in the order of the rows."""
    n_rows: int
    n_bytes: int
    """Decoded values."""
    file_bytes: int


def write_data_files(
    release: Path,
    configuration: str,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    max_bytes: int,
) -> DataFiles:
    """Write `data/<configuration>/train-….parquet`; the same rows give the same bytes.

    A file is at most `max_bytes` long, unless a single row is longer. One row group is held in
    memory.

    Args:
        release: folder of the release.
        batches: rows with the schema, cut anywhere.
        max_bytes: of one file.
    """
    folder = release / "data" / configuration
    folder.mkdir(parents=True)
    counts = [0, 0]

    def counted() -> Iterator[pa.Table]:
        for group in row_groups(batches, max_bytes=min(ROW_GROUP_BYTES, max_bytes)):
            counts[0] += group.num_rows
            counts[1] += group.nbytes
            yield group

    n_files = sum(1 for _ in _files(folder, schema, counted(), max_bytes))
    names = []
    for number in range(n_files):
        # The hub's way of naming files, which says in each how many there are.
        name = f"{SPLIT}-{number:05}-of-{n_files:05}.parquet"
        _unnamed(folder, number).rename(folder / name)
        names.append(str((folder / name).relative_to(release)))
    file_bytes = sum((release / name).stat().st_size for name in names)
    return DataFiles(names, counts[0], counts[1], file_bytes)


def _files(
    folder: Path, schema: pa.Schema, groups: Iterator[pa.Table], max_bytes: int
) -> Iterator[Path]:
    """Write one file after the other; there is at least one."""
    options = writer_options(schema)
    group = next(groups, None)
    number = 0
    while number == 0 or group is not None:
        file = _unnamed(folder, number)
        with file.open("wb") as stream, pq.ParquetWriter(stream, schema, **options) as writer:
            is_empty = True
            # Decoded values are no shorter than what is written of them.
            while group is not None and (is_empty or stream.tell() + group.nbytes <= max_bytes):
                writer.write_table(group, row_group_size=group.num_rows)
                is_empty = False
                group = next(groups, None)
        yield file
        number += 1


def _unnamed(folder: Path, number: int) -> Path:
    return folder / f".{number}.parquet"
