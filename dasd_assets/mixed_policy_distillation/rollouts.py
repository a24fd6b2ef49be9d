"""Student rollouts: the stage-2 student answers, capped by the teacher's length (section 5)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from dasd_assets.teacher_responses.earlier import row_id
from dasd_assets.teacher_responses.sampling import (
    batches,
    chat,
    complete_all,
    decode,
    request_seed,
    sampling_columns,
)
from resources.contracts import STUDENT_ROLLOUTS
from resources.engines.protocol import GenerationRequest, InferenceEngine, Progress


def sample_rollout_questions(sample: pa.Table, n: int, seed: int) -> pa.Table:
    """Choose questions of the divergence sample at random, one response each.

    The choice goes by a seeded hash of the ids, so that it does not depend on the order of the
    rows, and a new shard only displaces as many questions as it brings.

    Args:
        sample: rows with the schema DIVERGENCE_SAMPLE of all temperatures.
        n: questions to choose; all, if there are fewer.

    Returns:
        Rows of `sample`, ordered by the hash.
    """

    def lot(name: str) -> bytes:
        return hashlib.blake2b(f"{seed}\0rollout\0{name}".encode(), digest_size=8).digest()

    columns = sample.select(["question_id", "response_id"]).to_pylist()
    lots = sorted(
        (lot(row["question_id"]), lot(row["response_id"]), index, row["question_id"])
        for index, row in enumerate(columns)
    )
    chosen: dict[str, int] = {}
    for _, _, index, question in lots:
        chosen.setdefault(question, index)
    return sample.take(pa.array(list(chosen.values())[:n], pa.int64()))


def rollout_cap(n_teacher_response_tokens: int, cap_ratio: float) -> int:
    """New tokens a rollout may have: 1.5 x the teacher response's length in student tokens."""
    return max(1, int(n_teacher_response_tokens * cap_ratio))


def sample_rollouts(
    chosen: pa.Table,
    engine: InferenceEngine,
    *,
    cap_ratio: float,
    temperature: float,
    system_prompt: str,
    seed: int,
    journal: Path,
    on_progress: Callable[[Progress], None] | None = None,
    earlier: Iterable[pa.RecordBatch] = (),
) -> Iterator[pa.RecordBatch]:
    """Let the student answer, each answer with its own cap.

    Args:
        chosen: rows with the schema DIVERGENCE_SAMPLE, one per question.
        engine: the stage-2 student's.

    Returns:
        Batches with the schema STUDENT_ROLLOUTS, in the order of `chosen`.
    """
    rows = chosen.to_pylist()
    requests = [
        GenerationRequest(
            prompt=engine.render(chat(system_prompt, row["question"])),
            temperature=temperature,
            top_p=1.0,
            max_tokens=rollout_cap(row["n_student_tokens"], cap_ratio),
            seed=request_seed(seed, "rollout", row["question_id"]),
        )
        for row in rows
    ]
    completions = complete_all(engine, requests, journal, on_progress, earlier)
    rollouts = (
        {
            "rollout_id": row_id("o", engine, request),
            "response_id": row["response_id"],
            "question_id": row["question_id"],
            "domain": row["domain"],
            "question": row["question"],
            **sampling_columns(engine, request, completion),
            "n_teacher_response_tokens": row["n_student_tokens"],
            "is_truncated": completion is not None and completion.finish_reason == "length",
            "text": decode(engine, completion),
        }
        for row, request, completion in zip(rows, requests, completions, strict=True)
    )
    return batches(rollouts, STUDENT_ROLLOUTS)
