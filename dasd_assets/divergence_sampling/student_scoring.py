"""Student scoring: the base student's view of every token of a response, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from formats.chat import chat
from formats.student_text import THINK_OPEN, student_text, student_token_starts
from formats.student_tokens import encode_response
from formats.token_bytes import TokenBytes, TokenizerError
from resources.engines.protocol import InferenceEngine, Progress, ScoringRequest, TokenScores
from resources.lake.parquet_layout import row_groups
from resources.lake.table import TOKEN_IDS, ContractError
from resources.lake.tables.divergence_sampling import STUDENT_SCORES

TEXT_COLUMNS = ["response_id", "question", "reasoning", "answer", "response_text"]

SLICE_BYTES = 64 * 1024**2
"""Values of the responses that are scored before they are written (the text is there twice: about
10 million tokens): enough to sort by length, and all that is held beside the model."""
SLICE_ROWS = 1_000_000


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
    done, n_tokens, seconds = 0, 0, 0.0
    for part in row_groups(filtered, SLICE_ROWS, SLICE_BYTES):
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
                        n_responses,
                        before[1] + progress.n_tokens,
                        before[2] + progress.seconds,
                    )
                )

        yield _score_slice(part, engine, system_prompt, token_bytes, of_whole)
        done += part.num_rows
        n_tokens += latest.n_tokens
        seconds += latest.seconds


def _score_slice(
    part: pa.Table,
    engine: InferenceEngine,
    system_prompt: str,
    token_bytes: TokenBytes,
    on_progress: Callable[[Progress], None],
) -> pa.RecordBatch:
    rows = part.to_pylist()
    requests = [
        ScoringRequest(
            key=row["response_id"],
            prompt_token_ids=engine.render(chat(system_prompt, row["question"])).token_ids,
            token_ids=tuple(encode_response(engine.tokenizer, row["response_text"])),
        )
        for row in rows
    ]
    found = {scores.key: scores for scores in engine.score(requests, on_progress)}
    scores = [_checked(found.get(request.key), request) for request in requests]
    token_ids = [np.asarray(request.token_ids, np.int32) for request in requests]
    token_starts = [
        _token_starts(row, ids, token_bytes) for row, ids in zip(rows, token_ids, strict=True)
    ]
    identity = engine.identity
    return pa.RecordBatch.from_arrays(
        [
            part["response_id"].combine_chunks(),
            pa.repeat(identity.model, len(rows)),
            pa.repeat(identity.revision, len(rows)),
            _lists(token_ids, TOKEN_IDS),
            _lists([s.logprobs for s in scores], STUDENT_SCORES.field("logprobs").type),
            _lists([s.ranks for s in scores], STUDENT_SCORES.field("ranks").type),
            _lists(token_starts, TOKEN_IDS),
        ],
        schema=STUDENT_SCORES,
    )


def _checked(scores: TokenScores | None, request: ScoringRequest) -> TokenScores:
    """Scores, one finite logprob per token. Another is a broken model, and no row of it is used."""
    n_logprobs = 0 if scores is None else len(scores.logprobs)
    if scores is None or n_logprobs != len(request.token_ids):
        raise ContractError(
            f"student_scores: {request.key} has {n_logprobs} logprobs for "
            f"{len(request.token_ids)} tokens"
        )
    if not np.isfinite(scores.logprobs).all():
        raise ContractError(f"student_scores: {request.key} has a non-finite logprob")
    return scores


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


def _lists(rows: list[npt.NDArray[Any]], column_type: pa.DataType) -> pa.ListArray:
    """One list per row, from arrays."""
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    values = np.concatenate(rows) if rows else np.empty(0)
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(values, column_type.value_type), type=column_type
    )
