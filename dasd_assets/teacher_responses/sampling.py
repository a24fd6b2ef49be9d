"""Sampling answers: from questions to requests to rows, for every model that answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dasd_assets.answering.earlier import EarlierColumns, row_id
from dasd_assets.answering.requests import (
    Completions,
    complete_all,
    decode,
    request_seed,
    sampling_columns,
)
from formats.chat import chat_of
from resources.engines.protocol import (
    GenerationRequest,
    InferenceEngine,
    Progress,
)
from resources.lake.row_batches import batches
from resources.lake.tables.teacher_responses import TEACHER_RESPONSES, TEACHER_TOP_LOGPROBS


@dataclass(frozen=True)
class Sampled:
    """The answers to a shard's questions, made from the journal as they are taken.

    Gone through, it gives batches with the schema TEACHER_RESPONSES, ordered by question, then
    sample index.
    """

    engine: InferenceEngine
    columns: list[dict[str, Any]]
    """Of each row: what was known before it was asked."""
    requests: list[GenerationRequest]
    completions: Completions

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        rows = (
            {
                "response_id": row_id("r", self.engine, request),
                **columns,
                **sampling_columns(self.engine, request, completion),
                "text": decode(self.engine, completion),
            }
            for columns, request, completion in zip(
                self.columns, self.requests, self.completions, strict=True
            )
        )
        return batches(rows, TEACHER_RESPONSES)

    def tops(self) -> Iterator[pa.RecordBatch]:
        """Batches with the schema TEACHER_TOP_LOGPROBS, a row for each answer in the same order."""
        rows: Iterator[dict[str, Any]] = (
            {
                "response_id": row_id("r", self.engine, request),
                "k": request.top_logprobs,
                "top_token_ids": completion.top.token_ids.ravel() if completion else [],
                "top_logprobs": _rounded(completion.top.logprobs.ravel()) if completion else [],
            }
            for request, completion in zip(self.requests, self.completions, strict=True)
        )
        return batches(rows, TEACHER_TOP_LOGPROBS)


def _rounded(logprobs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """To the precision of float16: a file has hardly more than these bits of each.

    In the type itself they would be two bytes in memory too, and DuckDB takes none from Arrow.
    """
    return logprobs.astype(np.float16).astype(np.float32)


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
    top_logprobs: int = 0,
    earlier_tops: EarlierColumns | None = None,
) -> Sampled:
    """Ask the teacher every question of a shard several times (paper section 6.2).

    Args:
        questions: rows with the schema QUESTIONS.
        temperature_name: partition name; with the question and the sample index it gives the
            request's seed, so that the same request always gives the same row.
        journal: file that keeps finished requests until the partition is written.
        template_date: what the teacher's chat template prints as today's date.
        earlier: response_id and `earlier.SAMPLED` of the partition's last materialization.
        top_logprobs: how many of the likeliest tokens are asked for at each position.
        earlier_tops: columns of those that the last materialization has; needed if they are asked
            for.

    Returns:
        The answers; every one is in the journal when this returns.
    """
    columns: list[dict[str, Any]] = []
    requests = []
    for question in questions.to_pylist():
        messages = chat_of(question, system_prompt)
        prompt = engine.render(
            messages,
            reasoning_effort=reasoning_effort,
            template_date=template_date,
        )
        for index in range(samples_per_question):
            columns.append(
                {
                    "question_id": question["question_id"],
                    "domain": question["domain"],
                    "question": question["question"],
                    "earlier_messages": question["earlier_messages"],
                    "sample_index": index,
                    "system_prompt": messages[0]["content"],
                    "reasoning_effort": reasoning_effort,
                }
            )
            requests.append(
                GenerationRequest(
                    prompt=prompt,
                    temperature=temperature,
                    top_p=top_p,
                    max_tokens=max_tokens,
                    seed=request_seed(seed, temperature_name, question["question_id"], index),
                    top_logprobs=top_logprobs,
                )
            )
    completions = complete_all(engine, requests, journal, on_progress, earlier, earlier_tops)
    return Sampled(engine, columns, requests, completions)
