"""Student scoring: the base student's view of every token of a response, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dasd_assets.answering.scoring import as_lists, scored_slices
from formats.answer_format import FormatError
from formats.chat import chat_of
from formats.model_format import ModelFormat
from resources.engines.protocol import InferenceEngine, Progress, ScoringRequest
from resources.lake.table import TOKEN_IDS, ContractError
from resources.lake.tables.divergence_sampling import STUDENT_SCORES

TEXT_COLUMNS = ["response_id", "question", "earlier_messages", "reasoning", "answer"]


def score_responses(
    filtered: Iterable[pa.RecordBatch],
    n_responses: int,
    engine: InferenceEngine,
    system_prompt: str,
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Logprob and rank of every token of every response under the base student.

    Args:
        filtered: batches of TEXT_COLUMNS.
        n_responses: rows of all batches, for the progress.
        engine: the base student's engine; prompts and responses are encoded exactly as in
            training, end token included.

    Returns:
        Batches with the schema STUDENT_SCORES, in the order of `filtered`.

    Raises:
        ContractError: a score is missing or not finite, or the tokens do not spell the response;
            the message names it.
    """
    student, identity = engine.format, engine.identity

    def requests_of(part: pa.Table) -> list[ScoringRequest]:
        return [
            ScoringRequest(
                key=row["response_id"],
                prompt_token_ids=engine.render(chat_of(row, system_prompt)).token_ids,
                token_ids=tuple(student.encode(row["reasoning"], row["answer"])),
            )
            for row in part.to_pylist()
        ]

    slices = scored_slices(
        "student_scores", filtered, n_responses, engine, requests_of, on_progress
    )
    for part, requests, scores in slices:
        token_ids = [np.asarray(request.token_ids, np.int32) for request in requests]
        token_starts = [
            _token_starts(row, ids, student)
            for row, ids in zip(part.to_pylist(), token_ids, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(
            [
                part["response_id"].combine_chunks(),
                pa.repeat(identity.model, part.num_rows),
                pa.repeat(identity.revision, part.num_rows),
                as_lists(token_ids, TOKEN_IDS),
                as_lists([s.logprobs for s in scores], STUDENT_SCORES.field("logprobs").type),
                as_lists([s.ranks for s in scores], STUDENT_SCORES.field("ranks").type),
                as_lists(token_starts, TOKEN_IDS),
            ],
            schema=STUDENT_SCORES,
        )


def _token_starts(
    row: dict[str, Any], token_ids: npt.NDArray[np.int32], student: ModelFormat
) -> npt.NDArray[np.int32]:
    """Token starts in response_text, also where the tokenizer normalises it (Qwen: NFC)."""
    try:
        return student.token_starts(token_ids, row["reasoning"], row["answer"])
    except FormatError as error:
        raise ContractError(f"student_scores: {row['response_id']}: {error}") from error
