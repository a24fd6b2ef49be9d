"""Sampling answers: from questions to requests to rows, for every model that answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from dasd_assets.teacher_responses.earlier import earlier_answers, row_id
from resources.contracts import TEACHER_RESPONSES
from resources.engines.journal import finish_requests
from resources.engines.protocol import (
    Completion,
    GenerationRequest,
    InferenceEngine,
    Progress,
)

ROWS_PER_BATCH = 256
VALUES_PER_BATCH = 1024**2
"""List elements and characters of a batch; an answer can have tens of thousands of each."""

CONTEXT_EXCEEDED = "context_exceeded"


def request_seed(*parts: str | int) -> int:
    """A 63-bit seed that depends on nothing but `parts`, so that a retry repeats the answer."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def chat(system_prompt: str, question: str) -> list[dict[str, str]]:
    """The messages that are sent for one question, in every stage."""
    return [
        {"role": "system", "content": system_prompt},
        {"role": "user", "content": question},
    ]


def complete_all(
    engine: InferenceEngine,
    requests: Sequence[GenerationRequest],
    journal: Path,
    on_progress: Callable[[Progress], None] | None = None,
    earlier: Iterable[pa.RecordBatch] = (),
) -> Iterator[Completion | None]:
    """Have every request answered, then give the completions in the order of the requests.

    Finished requests are kept in the journal, so that a retry asks only for the missing ones. All
    are finished when this returns; the iterator reads one completion at a time back from the
    journal. It gives None where a prompt is beyond the context. Answers that `earlier` has (see
    `earlier_answers`) are not asked for.
    """
    fits = [engine.check(request) is None for request in requests]
    fitting = [request for request, fit in zip(requests, fits, strict=True) if fit]
    keys = [request.key(engine.identity) for request in fitting]
    known = earlier_answers(keys, earlier)
    completions = finish_requests(engine, fitting, journal, on_progress, known).read(keys)
    return (next(completions) if fit else None for fit in fits)


def sampling_columns(
    engine: InferenceEngine, request: GenerationRequest, completion: Completion | None
) -> dict[str, Any]:
    """The columns that tell how a row was sampled, and what came back.

    A request that was never sent, because its prompt is beyond the model's context, has no
    tokens and the finish reason `context_exceeded`; nothing is made up for it.
    """
    identity = engine.identity
    return {
        "model": identity.model,
        "model_revision": identity.revision,
        "engine": identity.engine,
        "engine_version": identity.engine_version,
        "logprobs_mode": identity.logprobs_mode,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": request.max_tokens,
        "seed": request.seed,
        "finish_reason": completion.finish_reason if completion else CONTEXT_EXCEEDED,
        "token_ids": completion.token_ids if completion else [],
        "logprobs": completion.logprobs if completion else [],
    }


def decode(engine: InferenceEngine, completion: Completion | None) -> str:
    """The emitted text with special tokens; empty if nothing was emitted."""
    if completion is None:
        return ""
    return str(engine.tokenizer.decode(completion.token_ids, skip_special_tokens=False))


def batches(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Rows as record batches of bounded size; no more rows are taken than the batch needs."""
    batch: list[dict[str, Any]] = []
    n_values = 0
    for row in rows:
        batch.append(row)
        n_values += sum(len(value) for value in row.values() if hasattr(value, "__len__"))
        if len(batch) == ROWS_PER_BATCH or n_values >= VALUES_PER_BATCH:
            yield pa.RecordBatch.from_pylist(batch, schema=schema)
            batch, n_values = [], 0
    if batch:
        yield pa.RecordBatch.from_pylist(batch, schema=schema)


def sample_responses(
    questions: pa.Table,
    engine: InferenceEngine,
    *,
    temperature_name: str,
    temperature: float,
    samples_per_question: int,
    top_p: float,
    max_tokens: int,
    system_prompt: str,
    reasoning_effort: str,
    seed: int,
    journal: Path,
    on_progress: Callable[[Progress], None] | None = None,
    earlier: Iterable[pa.RecordBatch] = (),
) -> Iterator[pa.RecordBatch]:
    """Ask the teacher every question of a shard several times (paper section 6.2).

    Args:
        questions: rows with the schema QUESTIONS.
        temperature_name: partition name; with the question and the sample index it gives the
            request's seed, so that the same request always gives the same row.
        journal: file that keeps finished requests until the partition is written.
        earlier: response_id and `earlier.SAMPLED` of the partition's last materialization.

    Returns:
        Batches with the schema TEACHER_RESPONSES, ordered by question, then sample index; every
        answer is in the journal when this returns, and the batches are made from it as they are
        taken.
    """
    asked: list[tuple[dict[str, Any], int]] = []
    requests = []
    for question in questions.to_pylist():
        prompt = engine.render(
            chat(system_prompt, question["question"]), reasoning_effort=reasoning_effort
        )
        for index in range(samples_per_question):
            asked.append((question, index))
            requests.append(
                GenerationRequest(
                    prompt=prompt,
                    temperature=temperature,
                    top_p=top_p,
                    max_tokens=max_tokens,
                    seed=request_seed(seed, temperature_name, question["question_id"], index),
                )
            )
    completions = complete_all(engine, requests, journal, on_progress, earlier)
    rows = (
        {
            "response_id": row_id("r", engine, request),
            "question_id": question["question_id"],
            "domain": question["domain"],
            "question": question["question"],
            "sample_index": index,
            "system_prompt": system_prompt,
            "reasoning_effort": reasoning_effort,
            **sampling_columns(engine, request, completion),
            "text": decode(engine, completion),
        }
        for (question, index), request, completion in zip(asked, requests, completions, strict=True)
    )
    return batches(rows, TEACHER_RESPONSES)
