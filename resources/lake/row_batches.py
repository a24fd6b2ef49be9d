"""Rows as record batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

ROWS_PER_BATCH = 256
VALUES_PER_BATCH = 1024**2
"""List elements and characters of a batch; an answer can have tens of thousands of each."""


def batches(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Rows as record batches of bounded size; no more rows are taken than the batch needs."""
    batch: list[dict[str, Any]] = []
    n_values = 0
    for row in rows:
        batch.append(row)
        n_values += sum(len(value) for value in row.values() if hasattr(value, "__len__"))
        if len(batch) == ROWS_PER_BATCH or n_values >= VALUES_PER_BATCH:
            yield pa.RecordBatch.from_pylist(batch, schema=schema)
            batch, n_values = [], 0
    if batch:
        yield pa.RecordBatch.from_pylist(batch, schema=schema)
