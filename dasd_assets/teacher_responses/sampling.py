"""Sampling answers: from questions to requests to rows, for every model that answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from dasd_assets.answering.earlier import row_id
from dasd_assets.answering.requests import complete_all, decode, request_seed, sampling_columns
from formats.chat import chat_of
from resources.engines.protocol import (
    GenerationRequest,
    InferenceEngine,
    Progress,
)
from resources.lake.row_batches import batches
from resources.lake.tables.teacher_responses import TEACHER_RESPONSES


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
    template_date: date | None = None,
) -> Iterator[pa.RecordBatch]:
    """Ask the teacher every question of a shard several times (paper section 6.2).

    Args:
        questions: rows with the schema QUESTIONS.
        temperature_name: partition name; with the question and the sample index it gives the
            request's seed, so that the same request always gives the same row.
        journal: file that keeps finished requests until the partition is written.
        template_date: what the teacher's chat template prints as today's date.
        earlier: response_id and `earlier.SAMPLED` of the partition's last materialization.

    Returns:
        Batches with the schema TEACHER_RESPONSES, ordered by question, then sample index; every
        answer is in the journal when this returns, and the batches are made from it as they are
        taken.
    """
    asked: list[tuple[dict[str, Any], int]] = []
    requests = []
    for question in questions.to_pylist():
        messages = chat_of(question, system_prompt)
        prompt = engine.render(
            messages,
            reasoning_effort=reasoning_effort,
            template_date=template_date,
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
            "earlier_messages": question["earlier_messages"],
            "sample_index": index,
            "system_prompt": chat_of(question, system_prompt)[0]["content"],
            "reasoning_effort": reasoning_effort,
            **sampling_columns(engine, request, completion),
            "text": decode(engine, completion),
        }
        for (question, index), request, completion in zip(asked, requests, completions, strict=True)
    )
    return batches(rows, TEACHER_RESPONSES)
