"""Two streams of batches of the same responses, cut alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.contracts import ContractError

Pair = tuple[pa.RecordBatch, pa.RecordBatch]


def paired(filtered: Iterable[pa.RecordBatch], scores: Iterable[pa.RecordBatch]) -> Iterator[Pair]:
    """Batches of equal length with the same response_id row by row.

    Args:
        filtered, scores: batches with a column response_id, cut anywhere.

    Raises:
        ContractError: a row of one has another response_id in the other, or none.
    """
    streams = _filled(filtered), _filled(scores)
    responses = scored = None
    n_rows = 0
    while True:
        responses = next(streams[0], None) if responses is None else responses
        scored = next(streams[1], None) if scored is None else scored
        if responses is None and scored is None:
            return
        if responses is None or scored is None:
            raise _unmatched(n_rows, responses, scored)
        n = min(responses.num_rows, scored.num_rows)
        pair = responses.slice(0, n), scored.slice(0, n)
        is_same = pc.equal(pair[0]["response_id"], pair[1]["response_id"])
        if not pc.all(is_same).as_py():
            row = int(np.argmin(is_same.to_numpy(zero_copy_only=False)))
            raise _unmatched(n_rows + row, pair[0].slice(row), pair[1].slice(row))
        yield pair
        n_rows += n
        responses = responses.slice(n) if responses.num_rows > n else None
        scored = scored.slice(n) if scored.num_rows > n else None


def _filled(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return (batch for batch in batches if batch.num_rows)


def _unmatched(
    row: int, responses: pa.RecordBatch | None, scored: pa.RecordBatch | None
) -> ContractError:
    names = [
        "nothing" if batch is None else f"response {batch['response_id'][0].as_py()}"
        for batch in (responses, scored)
    ]
    return ContractError(
        f"filtered_responses and student_scores do not match: row {row} (from 0) is {names[0]} in "
        f"the first and {names[1]} in the second. Materialize student_scores again."
    )
