"""Damage at any byte: the drop fails with its file named, or every row is accounted for."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.whole_drops import read_whole_drop

from dasd_assets.questions.reading.rows import DropError

N_ROWS = 60
ROWS = pa.table(
    {
        "question": [f"What is {i} + {i * 7}? \u00e9" for i in range(N_ROWS)],
        "domain": ["math"] * N_ROWS,
        "answer": [str(i) for i in range(N_ROWS)],
        "difficulty": [i % 5 for i in range(N_ROWS)],
    }
)


@pytest.mark.parametrize("kind", ["parquet", "parquet uncompressed", "arrow"])
def test_damaged_bytes_lose_no_row_silently(tmp_path: Path, kind: str) -> None:
    drop = file = tmp_path / "drop.parquet"
    if kind == "arrow":
        import datasets

        datasets.disable_progress_bars()
        drop = tmp_path / "drop"
        datasets.Dataset(ROWS).save_to_disk(drop, num_shards=1)
        file = drop / "data-00000-of-00001.arrow"
    else:
        compression = "none" if "uncompressed" in kind else "zstd"
        pq.write_table(ROWS, file, row_group_size=10, compression=compression)
    whole = file.read_bytes()
    rng = random.Random(0)
    failed = quarantined = 0
    for _ in range(120):
        content = bytearray(whole)
        for _ in range(rng.choice([1, 3, 20])):
            content[rng.randrange(len(content))] = rng.randrange(256)
        file.write_bytes(content)
        try:
            contents = read_whole_drop(drop, None, 10_000)
        except DropError as error:
            assert str(file) in str(error)
            failed += 1
        else:
            lines = contents.rows["line"].to_pylist() + contents.quarantined["line"].to_pylist()
            assert sorted(lines) == list(range(1, N_ROWS + 1))
            quarantined += contents.quarantined.num_rows > 0
    assert failed
    assert quarantined
