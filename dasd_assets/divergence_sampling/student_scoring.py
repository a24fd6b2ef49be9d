"""Student scoring: the base student's view of every token of a response, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from dasd_assets.response_filtering.student_format import student_token_starts
from dasd_assets.teacher_responses.sampling import batches, chat
from resources.contracts import STUDENT_SCORES, ContractError
from resources.engines.byte_offsets import TokenBytes
from resources.engines.protocol import InferenceEngine, Progress, ScoringRequest
from training.encoding import encode_response


def score_responses(
    filtered: pa.Table,
    engine: InferenceEngine,
    system_prompt: str,
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Logprob and rank of every token of every response under the base student.

    Args:
        filtered: response_id, question, reasoning, answer, response_text.
        engine: the base student's engine; prompts and responses are encoded exactly as in
            training, end token included.

    Returns:
        Batches with the schema STUDENT_SCORES, in the order of `filtered`.

    Raises:
        ContractError: a score is not finite, naming the response.
    """
    rows = filtered.to_pylist()
    requests = [
        ScoringRequest(
            key=row["response_id"],
            prompt_token_ids=engine.render(chat(system_prompt, row["question"])).token_ids,
            token_ids=tuple(encode_response(engine.tokenizer, row["response_text"])),
        )
        for row in rows
    ]
    scores = {score.key: score for score in engine.score(requests, on_progress)}
    token_bytes = TokenBytes(engine.tokenizer)
    scored = []
    for row, request in zip(rows, requests, strict=True):
        score = scores[row["response_id"]]
        if not np.isfinite(score.logprobs).all():
            raise ContractError(f"student_scores: {row['response_id']} has a non-finite logprob")
        scored.append(
            {
                "response_id": row["response_id"],
                "model": engine.identity.model,
                "model_revision": engine.identity.revision,
                "token_ids": request.token_ids,
                "logprobs": score.logprobs,
                "ranks": score.ranks,
                "token_starts": student_token_starts(
                    np.asarray(request.token_ids, np.int32),
                    token_bytes,
                    row["reasoning"],
                    row["answer"],
                ),
            }
        )
    return batches(scored, STUDENT_SCORES)
