"""Student scoring: the base student's view of every token of a response, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dasd_assets.answering.scoring import as_lists, scored_slices
from formats.chat import chat_of
from formats.student_text import THINK_OPEN, student_text, student_token_starts
from formats.student_tokens import encode_response
from formats.token_bytes import TokenBytes, TokenizerError
from resources.engines.protocol import InferenceEngine, Progress, ScoringRequest
from resources.lake.table import TOKEN_IDS, ContractError
from resources.lake.tables.divergence_sampling import STUDENT_SCORES

TEXT_COLUMNS = [
    "response_id", "question", "earlier_messages", "reasoning", "answer", "response_text",
]  # fmt: skip
PROMPTED = ["response_id", "question", "earlier_messages", "response_text"]


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
    token_bytes = TokenBytes(engine.tokenizer)
    identity = engine.identity

    def requests_of(part: pa.Table) -> list[ScoringRequest]:
        return [
            ScoringRequest(
                key=row["response_id"],
                prompt_token_ids=engine.render(chat_of(row, system_prompt)).token_ids,
                token_ids=tuple(encode_response(engine.tokenizer, row["response_text"])),
            )
            for row in part.select(PROMPTED).to_pylist()
        ]

    slices = scored_slices(
        "student_scores", filtered, n_responses, engine, requests_of, on_progress
    )
    for part, requests, scores in slices:
        token_ids = [np.asarray(request.token_ids, np.int32) for request in requests]
        token_starts = [
            _token_starts(row, ids, token_bytes)
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
    row: dict[str, Any], token_ids: npt.NDArray[np.int32], token_bytes: TokenBytes
) -> npt.NDArray[np.int32]:
    """Token starts in response_text, also where the tokenizer normalises it (Qwen: NFC)."""
    try:
        text = token_bytes.normalised(row["response_text"])
        reasoning = token_bytes.normalised(row["reasoning"]).text
        answer = token_bytes.normalised(row["answer"]).text
    except TokenizerError as error:
        raise ContractError(f"student_scores: {row['response_id']}: {error}") from error
    spelled = token_bytes.decode(token_ids)
    whole = (text.text.encode(), text.text.removeprefix(THINK_OPEN).encode())
    if spelled not in whole or student_text(reasoning, answer) != text.text:
        raise ContractError(
            f"student_scores: {row['response_id']}: its tokens spell {len(spelled)} bytes that "
            f"are not its response_text of {len(whole[0])} bytes, so no token can be placed in it"
        )
    starts = student_token_starts(token_ids, token_bytes, reasoning, answer)
    return np.where(starts < 0, starts, text.original_starts[starts]).astype(np.int32)
