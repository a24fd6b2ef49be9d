"""Student scores: every token of every response, in order, whatever the slices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.training_rows import STUDENT

from dasd_assets.answering import scoring
from dasd_assets.divergence_sampling.student_scoring import TEXT_COLUMNS, score_responses
from formats.student_text import student_text
from resources.engines.protocol import Progress, ScoringRequest, TokenScores
from resources.engines.settings import TransformersSettings
from resources.engines.transformers_engine import TransformersEngine
from resources.lake.table import ContractError
from resources.lake.tables.divergence_sampling import STUDENT_SCORES
from resources.lake.tables.response_filtering import FILTERED_RESPONSES

PARTS = [("3 + 4 = 7.", "It is 7."), ("Größe, 数学 🙂: 2 * 2 = 4. " * 6, "4"), ("One.", "1")]
SYSTEM_PROMPT = "You are a helpful assistant."


@pytest.fixture(scope="module")
def student() -> TransformersEngine:
    settings = TransformersSettings(dtype="float32", device="cpu", scoring_tokens=256)
    return TransformersEngine(str(STUDENT), settings)


def filtered(n: int) -> pa.Table:
    rows = [
        {
            "response_id": f"r-{index}",
            "question": f"What is {index} + 1?",
            "reasoning": reasoning.strip(),
            "answer": answer,
            "response_text": student_text(reasoning.strip(), answer),
        }
        for index in range(n)
        for reasoning, answer in [PARTS[index % len(PARTS)]]
    ]
    schema = pa.schema(
        [FILTERED_RESPONSES.field(name) for name in [*TEXT_COLUMNS, "response_text"]]
    )
    return pa.Table.from_pylist(rows, schema)


def scored(table: pa.Table, engine: Any) -> pa.Table:
    batches = list(score_responses(table.to_batches(), table.num_rows, engine, SYSTEM_PROMPT))
    return pa.Table.from_batches(batches, STUDENT_SCORES)


def test_slices_do_not_show(student: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    table = filtered(11)
    whole = scored(table, student)
    monkeypatch.setattr(scoring, "SLICE_BYTES", 500)
    progress: list[Progress] = []
    batches = list(
        score_responses(table.to_batches(3), 11, student, SYSTEM_PROMPT, progress.append)
    )
    assert len(batches) > 2
    sliced = pa.Table.from_batches(batches, STUDENT_SCORES)
    exact = ["response_id", "model", "model_revision", "token_ids", "ranks", "token_starts"]
    assert sliced.select(exact).equals(whole.select(exact))
    assert sliced["response_id"].to_pylist() == table["response_id"].to_pylist()
    for mine, other in zip(sliced["logprobs"], whole["logprobs"], strict=True):
        np.testing.assert_allclose(mine.as_py(), other.as_py(), atol=1e-5)
    assert [p.total for p in progress] == [11] * len(progress)
    assert progress[-1].done == 11
    assert progress[-1].n_tokens == sum(map(len, whole["token_ids"].to_pylist()))


def test_tokens_start_where_their_bytes_are(student: TransformersEngine) -> None:
    table = filtered(3)
    for row, text in zip(
        scored(table, student).to_pylist(), table["response_text"].to_pylist(), strict=True
    ):
        assert len(row["token_ids"]) == len(row["logprobs"]) == len(row["token_starts"])
        for token, start in zip(row["token_ids"], row["token_starts"], strict=True):
            piece = student.tokenizer.decode([token]).strip()
            if start >= 0 and piece and "\ufffd" not in piece:
                assert text.encode()[start:].decode(errors="ignore").startswith(piece)


def test_an_empty_partition_stays_empty(student: TransformersEngine) -> None:
    assert scored(filtered(0), student).num_rows == 0


class Broken:
    """The student, with one score that is not what it should be."""

    def __init__(self, student: TransformersEngine, logprobs: Any) -> None:
        self._student, self._logprobs = student, logprobs
        self.tokenizer, self.identity = student.tokenizer, student.identity
        self.render, self.format = student.render, student.format

    def score(
        self, requests: Sequence[ScoringRequest], on_progress: Any = None
    ) -> Iterator[TokenScores]:
        for scores in self._student.score(requests, on_progress):
            is_second = scores.key == "r-1"
            yield replace(scores, logprobs=self._logprobs(scores)) if is_second else scores


@pytest.mark.parametrize(
    ("logprobs", "reason"),
    [
        (lambda s: np.where(np.arange(len(s.logprobs)) == 2, np.nan, s.logprobs), "non-finite"),
        (lambda s: s.logprobs[:-1], "logprobs for"),
    ],
)
def test_a_broken_score_names_its_response(
    student: TransformersEngine, logprobs: Any, reason: str
) -> None:
    with pytest.raises(ContractError, match=f"r-1 .*{reason}"):
        scored(filtered(3), Broken(student, logprobs))
