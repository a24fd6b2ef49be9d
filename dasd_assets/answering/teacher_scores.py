"""Having answers that a teacher did not sample scored by it, in its own format.

Whatever the answers are of, each is either asked about or left out with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dasd_assets.answering.scoring import as_lists, scored_slices
from dasd_assets.answering.teacher_tokens import Integers
from resources.engines.protocol import (
    GenerationRequest,
    InferenceEngine,
    Progress,
    Prompt,
    ScoringRequest,
)
from resources.lake.table import LOGPROBS, TOKEN_IDS

BEYOND_CONTEXT = "beyond_context"

_NO_TOKENS: npt.NDArray[np.int32] = np.empty(0, np.int32)
_NO_LOGPROBS: npt.NDArray[np.float32] = np.empty(0, np.float32)


class Asked(NamedTuple):
    """One answer in the teacher's format, or why it is left out."""

    prompt: Prompt | None = None
    token_ids: Integers = _NO_TOKENS
    token_starts: Integers = _NO_TOKENS
    left_out: str | None = None


def asked_of(
    engine: InferenceEngine, prompt: Prompt, token_ids: Integers, token_starts: Integers
) -> Asked:
    """An answer that the teacher is asked about, if it fits into its context."""
    whole = GenerationRequest(
        prompt, prefix_token_ids=tuple(token_ids.tolist()),
        temperature=1.0, top_p=1.0, max_tokens=1, seed=0,
    )  # fmt: skip
    if engine.check(whole):
        return Asked(left_out=BEYOND_CONTEXT)
    return Asked(prompt, token_ids, token_starts)


def scores_of_teacher(
    table: str,
    schema: pa.Schema,
    answers: Iterable[pa.RecordBatch],
    n_answers: int,
    engine: InferenceEngine,
    ask: Callable[[pa.Table], Mapping[str, Asked]],
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Score answers, one pass over each.

    Args:
        table: what is made, for the error.
        schema: TEACHER_SCORES, or another with the same columns behind its id.
        answers: the column of the id is named as the schema's first.
        n_answers: rows of all batches, for the progress.
        engine: the teacher's.
        ask: id -> what the teacher is asked of each answer of a slice.

    Returns:
        Batches with the schema, in the order of `answers`.

    Raises:
        ContractError: a score is missing or not finite; the message names the answer.
    """
    identity, id_column = engine.identity, schema.names[0]
    asked: Mapping[str, Asked] = {}

    def requests_of(part: pa.Table) -> list[ScoringRequest]:
        nonlocal asked
        asked = {}  # of the slice before: its memory is free for this one
        asked = ask(part)
        return [
            ScoringRequest(key, one.prompt.token_ids, tuple(one.token_ids.tolist()))
            for key, one in asked.items()
            if one.prompt is not None
        ]

    slices = scored_slices(table, answers, n_answers, engine, requests_of, on_progress)
    for part, _, scores in slices:
        logprobs = {one.key: one.logprobs for one in scores}
        ids = part[id_column].to_pylist()
        rows = [asked[name] for name in ids]
        yield pa.RecordBatch.from_arrays(
            [
                part[id_column].combine_chunks(),
                pa.repeat(identity.model, len(rows)),
                pa.repeat(identity.revision, len(rows)),
                as_lists([row.token_ids for row in rows], TOKEN_IDS),
                as_lists([logprobs.get(name, _NO_LOGPROBS) for name in ids], LOGPROBS),
                as_lists([row.token_starts for row in rows], TOKEN_IDS),
                pa.array([row.left_out for row in rows], pa.string()),
            ],
            schema=schema,
        )
