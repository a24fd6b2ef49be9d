"""Two streams of batches of the same responses, cut alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.lake.table import ContractError

Pair = tuple[pa.RecordBatch, pa.RecordBatch]


def paired(
    left: Iterable[pa.RecordBatch],
    right: Iterable[pa.RecordBatch],
    left_table: str = "filtered_responses",
    right_table: str = "student_scores",
) -> Iterator[Pair]:
    """Batches of equal length with the same response_id row by row.

    Args:
        left, right: batches with a column response_id, cut anywhere.
        left_table, right_table: where they are from, for the error.

    Raises:
        ContractError: a row of one has another response_id in the other, or none.
    """
    streams = _filled(left), _filled(right)
    tables = left_table, right_table
    first = second = None
    n_rows = 0
    while True:
        first = next(streams[0], None) if first is None else first
        second = next(streams[1], None) if second is None else second
        if first is None and second is None:
            return
        if first is None or second is None:
            raise _unmatched(tables, n_rows, first, second)
        n = min(first.num_rows, second.num_rows)
        pair = first.slice(0, n), second.slice(0, n)
        is_same = pc.equal(pair[0]["response_id"], pair[1]["response_id"])
        if not pc.all(is_same).as_py():
            row = int(np.argmin(is_same.to_numpy(zero_copy_only=False)))
            raise _unmatched(tables, n_rows + row, pair[0].slice(row), pair[1].slice(row))
        yield pair
        n_rows += n
        first = first.slice(n) if first.num_rows > n else None
        second = second.slice(n) if second.num_rows > n else None


def _filled(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return (batch for batch in batches if batch.num_rows)


def _unmatched(
    tables: tuple[str, str], row: int, left: pa.RecordBatch | None, right: pa.RecordBatch | None
) -> ContractError:
    names = [
        "nothing" if batch is None else f"response {batch['response_id'][0].as_py()}"
        for batch in (left, right)
    ]
    return ContractError(
        f"{tables[0]} and {tables[1]} do not match: row {row} (from 0) is {names[0]} in "
        f"the first and {names[1]} in the second. Materialize {tables[1]} again."
    )
