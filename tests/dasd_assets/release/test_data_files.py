"""Parquet files of bounded size, the same bytes however the rows came."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dasd_assets.release.data_files import write_data_files

SCHEMA = pa.schema([("id", pa.string()), ("logprobs", pa.list_(pa.float32()))])
N_ROWS = 3_000


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    random = np.random.default_rng(0)
    lists = [random.random(100).astype(np.float32) for _ in range(N_ROWS)]
    return pa.table({"id": [f"r{n}" for n in range(N_ROWS)], "logprobs": lists}, SCHEMA)


def batches(rows: pa.Table, size: int) -> Iterator[pa.RecordBatch]:
    yield from rows.to_batches(max_chunksize=size)


def test_no_file_is_longer_than_allowed_and_no_row_is_lost(rows: pa.Table, tmp_path: Path) -> None:
    limit = 128 * 1024
    files = write_data_files(tmp_path, "stage", SCHEMA, batches(rows, 700), limit)
    sizes = [(tmp_path / name).stat().st_size for name in files.names]
    assert len(sizes) > 5
    assert max(sizes) <= limit
    assert files.names[0] == f"data/stage/train-00000-of-{len(sizes):05}.parquet"
    assert pa.concat_tables(pq.read_table(tmp_path / n) for n in files.names).equals(rows)
    assert (files.n_rows, files.file_bytes) == (N_ROWS, sum(sizes))
    assert len(list((tmp_path / "data" / "stage").iterdir())) == len(sizes)


def test_the_bytes_do_not_depend_on_how_the_rows_came(rows: pa.Table, tmp_path: Path) -> None:
    written = [
        write_data_files(tmp_path / str(size), "stage", SCHEMA, batches(rows, size), 256 * 1024)
        for size in (1, 999, N_ROWS)
    ]
    assert written[0] == written[1] == written[2]
    for name in written[0].names:
        assert len({(tmp_path / str(size) / name).read_bytes() for size in (1, 999, N_ROWS)}) == 1


def test_a_row_longer_than_a_file_may_be_has_one_alone(rows: pa.Table, tmp_path: Path) -> None:
    files = write_data_files(tmp_path, "stage", SCHEMA, batches(rows.slice(0, 3), 3), 100)
    assert [pq.read_metadata(tmp_path / name).num_rows for name in files.names] == [1, 1, 1]


def test_a_set_without_rows_is_a_file_with_columns(tmp_path: Path) -> None:
    files = write_data_files(tmp_path, "stage", SCHEMA, iter(()), 100)
    assert files.names == ["data/stage/train-00000-of-00001.parquet"]
    assert pq.read_table(tmp_path / files.names[0]).schema.equals(SCHEMA)


def test_the_rows_are_streamed(tmp_path: Path) -> None:
    """At no time are more rows read ahead than a row group has."""
    n_read = 0
    written_at: list[int] = []

    def source() -> Iterator[pa.RecordBatch]:
        nonlocal n_read
        for _ in range(40):
            n_read += 100
            sizes = [f.stat().st_size for f in (tmp_path / "data" / "stage").glob(".*")]
            written_at.append(sum(sizes))
            yield pa.record_batch(
                {"id": ["x"] * 100, "logprobs": [[0.5] * 64] * 100}, schema=SCHEMA
            )

    write_data_files(tmp_path, "stage", SCHEMA, source(), 64 * 1024)
    assert n_read == 4_000
    assert written_at[20] > 0, "nothing was written while half of the rows were still to come"
