"""Having given tokens scored by a model, slice by slice: memory does not grow with the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from resources.engines.protocol import InferenceEngine, Progress, ScoringRequest, TokenScores
from resources.lake.parquet_layout import row_groups
from resources.lake.table import ContractError

SLICE_BYTES = 64 * 1024**2
"""Values of the rows that are scored before they are written (a text may be there twice: about
10 million tokens): enough to sort by length. Beside the model no more is held, but their
requests."""
SLICE_ROWS = 1_000_000


def scored_slices(
    table: str,
    rows: Iterable[pa.RecordBatch],
    n_rows: int,
    engine: InferenceEngine,
    requests_of: Callable[[pa.Table], Sequence[ScoringRequest]],
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[tuple[pa.Table, Sequence[ScoringRequest], list[TokenScores]]]:
    """Score the requests of all rows.

    Args:
        table: what is made of the scores, for the error.
        n_rows: rows of all batches, for the progress.
        requests_of: the requests of a slice of the rows.

    Returns:
        Each slice with its requests, and their scores in the same order.

    Raises:
        ContractError: a request has not one finite logprob per token. That is a broken model, and
            no row of it is used; the message names the request's key.
    """
    done, n_tokens, seconds = 0, 0, 0.0
    for part in row_groups(rows, SLICE_ROWS, SLICE_BYTES):
        latest = Progress(0, 0, 0, 0.0)

        def of_whole(
            progress: Progress, before: tuple[int, int, float] = (done, n_tokens, seconds)
        ) -> None:
            nonlocal latest
            latest = progress
            if on_progress:
                on_progress(
                    Progress(
                        before[0] + progress.done,
                        n_rows,
                        before[1] + progress.n_tokens,
                        before[2] + progress.seconds,
                    )
                )

        requests = requests_of(part)
        found = {scores.key: scores for scores in engine.score(requests, of_whole)}
        yield part, requests, [_checked(table, found.get(one.key), one) for one in requests]
        done += part.num_rows
        n_tokens += latest.n_tokens
        seconds += latest.seconds


def _checked(table: str, scores: TokenScores | None, request: ScoringRequest) -> TokenScores:
    n_logprobs = 0 if scores is None else len(scores.logprobs)
    if scores is None or n_logprobs != len(request.token_ids):
        raise ContractError(
            f"{table}: {request.key} has {n_logprobs} logprobs for {len(request.token_ids)} tokens"
        )
    if not np.isfinite(scores.logprobs).all():
        raise ContractError(f"{table}: {request.key} has a non-finite logprob")
    return scores


def as_lists(rows: Sequence[npt.NDArray[Any]], column_type: pa.DataType) -> pa.ListArray:
    """One list per row, from arrays."""
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    values = np.concatenate(rows) if rows else np.empty(0)
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(values, column_type.value_type), type=column_type
    )
