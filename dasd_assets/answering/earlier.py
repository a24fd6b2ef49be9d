"""Answers that an earlier materialization of the partition has: they are not asked for again.

A row's id holds its request's key, which covers everything that shapes the answer. After an edited
question or a drop that grew, only what changed is sampled; a run that died after its partition was
written, but before Dagster knew, samples nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from resources.engines.protocol import (
    NO_TOP,
    Completion,
    GenerationRequest,
    InferenceEngine,
    TopLogprobs,
)

KEY_DIGITS = 24
SAMPLED = ("token_ids", "logprobs", "finish_reason")
"""Beside the id: the columns of an earlier row that hold its answer."""

TOP_COLUMNS = ["response_id", "k", "top_token_ids", "top_logprobs"]
"""Columns of an earlier row of `teacher_top_logprobs`."""

EarlierColumns = Callable[[list[str]], Iterable[pa.RecordBatch]]

_NO_LOGPROBS = np.empty(0, np.float32)


def row_id(prefix: str, engine: InferenceEngine, request: GenerationRequest) -> str:
    """Id of the row that answers a request, the same in every run."""
    return f"{prefix}-{request.key(engine.identity)[:KEY_DIGITS]}"


def earlier_answers(keys: Iterable[str], earlier: Iterable[pa.RecordBatch]) -> Iterator[Completion]:
    """The answers of earlier rows to requests with these keys, in the order of the rows.

    An answer without one finite logprob per token is left out: it is to be asked for again. One
    whose table does without them, its logprobs being null, is taken as it is.

    Args:
        earlier: the id column first, then SAMPLED.
    """
    whole_key = {key[:KEY_DIGITS]: key for key in keys}
    for batch in earlier:
        token_ids, reasons = batch.column("token_ids"), batch.column("finish_reason")
        logprobs = batch.column("logprobs")
        for row, name in enumerate(batch.column(0).to_pylist()):
            key = whole_key.get(_digits(name))
            if key is None:
                continue
            completion = Completion(
                key,
                token_ids[row].values.to_numpy(zero_copy_only=False),
                logprobs[row].values.to_numpy(zero_copy_only=False)
                if logprobs[row].is_valid
                else _NO_LOGPROBS,
                reasons[row].as_py(),
            )
            if has_logprobs(completion) or not logprobs[row].is_valid:
                yield completion


def with_tops(known: Iterable[Completion], earlier: EarlierColumns) -> Iterator[Completion]:
    """Earlier answers with their likeliest tokens; those that have none are to be asked for again.

    Both are in the order in which the partition was written, so that one row of each is held.

    Args:
        earlier: gives columns of the partition's earlier rows of `teacher_top_logprobs`.
    """
    there = {
        _digits(name) for batch in earlier(TOP_COLUMNS[:1]) for name in batch.column(0).to_pylist()
    }
    rows = (row for batch in earlier(TOP_COLUMNS) for row in zip(*batch.columns, strict=True))
    found, top = "", NO_TOP
    for completion in known:
        digits = completion.key[:KEY_DIGITS]
        if digits not in there:
            continue
        while found != digits and (row := next(rows, None)):
            found, top = _digits(row[0].as_py()), _top(*row[1:])
        if found == digits and len(top.token_ids) == len(completion.token_ids):
            yield replace(completion, top=top)


def _digits(row_id: str) -> str:
    return row_id.split("-", 1)[-1]


def _top(k: pa.Scalar, token_ids: pa.ListScalar, logprobs: pa.ListScalar) -> TopLogprobs:
    return TopLogprobs(
        token_ids.values.to_numpy(zero_copy_only=False).reshape(-1, k.as_py()),
        logprobs.values.to_numpy(zero_copy_only=False).reshape(-1, k.as_py()),
    )


def has_logprobs(completion: Completion) -> bool:
    """Whether there is one finite logprob per token.

    A server may tell those of the content only (format `split`): then the first ones are NaN.
    """
    n_tokens, is_known = len(completion.token_ids), np.isfinite(completion.logprobs)
    return 0 < n_tokens == len(is_known) and bool(is_known[is_known.argmax() :].all())
