"""Texts in another order: all of the wanted, in their order, however they were read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from resources.lake import ordered_rows as module
from resources.lake.ordered_rows import OrderedRows


def in_order(
    wanted: list[str], read: list[str], batch: int, folder: Path
) -> tuple[list[pa.Table], list[int]]:
    folder.mkdir()
    rows = pa.table({"response_id": read, "text": [f"text of {name}" for name in read]})
    texts = OrderedRows(pa.array(wanted, pa.string()), folder)
    texts.read(rows.to_batches(max_chunksize=batch))
    return list(texts.in_order()), texts.n_found.tolist()


@pytest.mark.parametrize("batch", [1, 7, 1_000])
@pytest.mark.parametrize(("max_parts", "rows_per_part"), [(3, 10), (256, 10), (256, 1_000)])
def test_the_wanted_rows_come_in_their_order_and_the_disk_is_left_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_parts: int, rows_per_part: int, batch: int
) -> None:
    monkeypatch.setattr(module, "MAX_PARTS", max_parts)
    monkeypatch.setattr(module, "ROWS_PER_PART", rows_per_part)
    names = [f"r{index}" for index in range(100)]
    rng = np.random.default_rng(0)
    wanted = rng.permutation(names)[:55].tolist()
    parts, n_found = in_order(wanted, rng.permutation(names).tolist(), batch, tmp_path / "parts")
    assert pa.concat_tables(parts)["text"].to_pylist() == [f"text of {name}" for name in wanted]
    assert len(parts) == min(max_parts, -(-55 // rows_per_part))
    assert n_found == [1] * 55
    assert not list((tmp_path / "parts").iterdir())


def test_what_is_missing_or_there_twice_is_counted(tmp_path: Path) -> None:
    assert in_order(["a", "b", "c"], ["c", "x", "a", "c"], 2, tmp_path / "1")[1] == [1, 0, 2]
    assert in_order([], ["a"], 1, tmp_path / "2") == ([], [])
