"""The teacher's scores of answers that came without: as its own where it wrote the same tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.scripted_engine import ScriptedEngine

from dasd_assets.divergence_sampling.provenance import FILTERED_COLUMNS, sentence_provenance
from dasd_assets.divergence_sampling.sentences import segmenter_named
from dasd_assets.divergence_sampling.teacher_scoring import (
    SCORED_BY_TEACHER,
    TEACHER_COLUMNS,
    score_with_teacher,
    with_scores,
)
from dasd_assets.profile import ClassRule, load_profile
from formats.harmony import HarmonyFormat
from formats.student_text import student_text
from formats.token_bytes import TokenBytes
from resources.engines.protocol import ScoringRequest, TokenScores
from resources.lake.tables.divergence_sampling import STUDENT_SCORES, TEACHER_SCORES
from resources.lake.tables.response_filtering import FILTERED_RESPONSES

REASONING, ANSWER = "We need 1 + 2.\n\nIt is 3.", "The answer is \\boxed{3}."
RULE: ClassRule = load_profile("tiny").divergence_sampling.rule


class ScoringEngine(ScriptedEngine):
    """Finds every token as likely as its id says."""

    def score(
        self, requests: list[ScoringRequest], on_progress: object = None
    ) -> Iterator[TokenScores]:
        for request in reversed(requests):  # in any order
            ids = np.asarray(request.token_ids, np.int32)
            yield TokenScores(request.key, logprobs_of(ids), np.ones(len(ids), np.int32))


def logprobs_of(ids: np.ndarray) -> np.ndarray:
    return (-(ids % 7 + 1) / 10).astype(np.float32)


@pytest.fixture(scope="module")
def engine() -> ScoringEngine:
    return ScoringEngine("teacher", lambda _: ([], "stop"))


def filtered(engine: ScoringEngine, *has_logprobs: bool) -> pa.RecordBatch:
    """The same answer as often as said, with the teacher's own tokens or without."""
    wire = (
        f"<|channel|>analysis<|message|>{REASONING}<|end|><|start|>assistant"
        f"<|channel|>final<|message|>{ANSWER}<|return|>"
    )
    ids = np.asarray(engine.tokenizer.encode(wire, add_special_tokens=False), np.int32)
    parts = HarmonyFormat().parse(ids, TokenBytes(engine.tokenizer), wire)
    rows: list[dict[str, Any]] = []
    for index, has_them in enumerate(has_logprobs):
        own = {
            "teacher_logprobs": logprobs_of(ids), "teacher_token_starts": parts.token_starts,
            "n_teacher_tokens": len(ids), "logprobs_mode": "raw_logprobs",
        }  # fmt: skip
        rows.append({
            "response_id": f"r{index}", "question_id": "q", "domain": "math", "question": "1 + 2?",
            "sample_index": index, "reasoning": REASONING, "answer": ANSWER,
            "response_text": student_text(REASONING, ANSWER), "n_student_tokens": 9,
            **(own if has_them else {}),
        })  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, schema=FILTERED_RESPONSES)


def scored(engine: ScoringEngine, rows: pa.RecordBatch) -> pa.Table:
    columns = rows.select(SCORED_BY_TEACHER)
    batches = score_with_teacher(
        [columns], rows.num_rows, engine, system_prompt="Help.", reasoning_effort="high"
    )
    return pa.Table.from_batches(batches, TEACHER_SCORES)


def test_only_answers_without_logprobs_are_scored_and_others_keep_their_own(
    engine: ScoringEngine,
) -> None:
    rows = filtered(engine, True, False)
    found = scored(engine, rows)
    assert found["left_out"].to_pylist() == ["has_logprobs", None]
    assert found["token_ids"][0].as_py() == []
    own, imported = (
        pa.Table.from_batches(
            with_scores([rows.select(FILTERED_COLUMNS)], found.select(TEACHER_COLUMNS).to_batches())
        )
        .select(["teacher_token_starts", "teacher_logprobs", "n_teacher_tokens"])
        .to_pylist()
    )
    # The end token, which the answer's text does not have, is scored for neither's sentences.
    assert imported["teacher_token_starts"] == own["teacher_token_starts"][:-1]
    assert imported["teacher_logprobs"] == own["teacher_logprobs"][:-1]
    assert imported["n_teacher_tokens"] == own["n_teacher_tokens"] - 1


def test_the_provenance_is_that_of_a_sampled_answer(engine: ScoringEngine) -> None:
    rows = filtered(engine, True, False, False)
    found = scored(engine, rows)
    batch = rows.select(FILTERED_COLUMNS)
    starts = [8, 20]
    student = pa.RecordBatch.from_pylist(
        [
            {"response_id": f"r{index}", "model": "s", "model_revision": "1", "token_ids": [1, 2],
             "logprobs": [-3.0, -3.0], "ranks": [1, 1], "token_starts": starts}
            for index in range(3)
        ],
        schema=STUDENT_SCORES,
    ).select(["response_id", "logprobs", "ranks", "token_starts"])  # fmt: skip
    segmenter = segmenter_named("reasoning-rules")
    completed = list(with_scores([batch], found.select(TEACHER_COLUMNS).to_batches()))
    [block] = sentence_provenance(completed, [student], RULE, segmenter)
    [first, second, third] = block.responses.to_pylist()
    assert second["p_teacher"] == first["p_teacher"] == third["p_teacher"]
    assert second["n_teacher_sentences"] == first["n_teacher_sentences"] > 0
    # Without the scores nothing is known of the second, and nothing is made up.
    [bare] = sentence_provenance([batch], [student], RULE, segmenter)
    first, second, _ = bare.responses.to_pylist()
    assert first["p_teacher"] is not None
    assert (second["p_teacher"], second["n_sentences"]) == (None, 0)
    assert second["p_student"] == first["p_student"]
    of_second = [row for row in bare.sentences.to_pylist() if row["response_id"] == "r1"]
    assert {row["sentence_class"] for row in of_second} == {"unscored"}


def test_an_answer_beyond_the_context_is_left_out_with_the_reason() -> None:
    engine = ScoringEngine("teacher", lambda _: ([], "stop"), context=20)
    found = scored(engine, filtered(engine, False))
    assert found["left_out"].to_pylist() == ["beyond_context"]
    assert found["token_ids"].to_pylist() == [[]]
