"""A checkpoint's own answers, judged by three models that are really there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.training_rows import STUDENT

from dasd_assets.divergence_sampling.sentences import segmenter_named
from dasd_assets.evaluation.provenance import CLASSES, answer_classes, answer_provenance
from dasd_assets.evaluation.teacher_scoring import ANSWER_COLUMNS, Answers, score_answers
from dasd_assets.profile import EvaluationProvenance
from formats.chat import chat
from resources.engines.protocol import ScoringRequest
from resources.engines.settings import TransformersSettings
from resources.engines.transformers_engine import TransformersEngine
from resources.lake.tables.evaluation import (
    EVALUATION,
    EVALUATION_PROVENANCE,
    EVALUATION_TEACHER_SCORES,
)

pytestmark = pytest.mark.slow

SYSTEM = "You are a helpful assistant."
QUESTION = "What is 3 + 4 - 2?"
TEXTS = (
    "<think>\n3 + 4 = 7. Then 7 - 2 = 5.\n</think>\n\nIt is 5.",
    "<think>Is it 5? Yes.",
)
P = st.floats(0, 1)


def engine(name: str) -> TransformersEngine:
    settings = TransformersSettings(dtype="float32", device="cpu")
    return TransformersEngine(str(STUDENT.with_name(name)), settings)


@pytest.fixture(scope="module")
def student() -> Iterator[TransformersEngine]:
    yield engine("student")


@pytest.fixture(scope="module")
def teacher() -> Iterator[TransformersEngine]:
    yield engine("teacher")


def scores_of(model: TransformersEngine, prompt: tuple[int, ...], ids: list[int]) -> np.ndarray:
    (scores,) = model.score([ScoringRequest("one", prompt, tuple(ids))])
    return scores.logprobs


def answers(student: TransformersEngine, **changes: Any) -> Answers:
    """Both answers; the checkpoint that sampled them is less sure of each token than the student.

    Args:
        changes: columns of the second answer.
    """
    prompt = student.render(chat(SYSTEM, QUESTION)).token_ids
    rows = []
    for index, text in enumerate(TEXTS):
        ids = student.tokenizer.encode(text, add_special_tokens=False)
        ids += [student.tokenizer.eos_token_id] * (index == 0)
        rows.append(
            {
                "answer_id": f"a{index}", "question_id": "q", "sample_index": index,
                "finish_reason": ("stop", "length")[index], "token_ids": ids,
                "logprobs": (scores_of(student, prompt, ids) - 0.5).tolist(),
            }
        )  # fmt: skip
    rows[1] |= changes
    table = pa.Table.from_pylist(rows, pa.schema([EVALUATION.field(c) for c in ANSWER_COLUMNS]))
    return Answers(table.to_batches(max_chunksize=1), len(rows), {"q": QUESTION})


def teacher_scores(found: Answers, teacher: TransformersEngine, student: Any) -> pa.Table:
    rows = score_answers(
        found, teacher, student.format, system_prompt=SYSTEM, reasoning_effort="high"
    )
    return pa.Table.from_batches(rows, EVALUATION_TEACHER_SCORES)


def test_every_sentence_has_the_probabilities_of_all_three_models(
    student: TransformersEngine, teacher: TransformersEngine
) -> None:
    found = answers(student)
    scores = teacher_scores(found, teacher, student)
    assert scores["left_out"].null_count == 2
    rows = pa.Table.from_batches(
        answer_provenance(
            found, scores.to_batches(), student, settings=EvaluationProvenance(),
            segmenter=segmenter_named("reasoning-rules"), system_prompt=SYSTEM,
        ),
        EVALUATION_PROVENANCE,
    ).to_pylist()  # fmt: skip
    assert [(row["answer_id"], row["part"], row["sentence"]) for row in rows] == [
        ("a0", "reasoning", "3 + 4 = 7. "), ("a0", "reasoning", "Then 7 - 2 = 5."),
        ("a0", "answer", "It is 5."),
        ("a1", "reasoning", "Is it 5? "), ("a1", "reasoning", "Yes."),
    ]  # fmt: skip
    # The last sentence, by hand: the teacher's tokens of it follow its own opening of the channel.
    prompt = teacher.render(chat(SYSTEM, QUESTION), reasoning_effort="high").token_ids
    before = teacher.tokenizer.encode("<|channel|>analysis<|message|>Is it 5? ")
    sentence = teacher.tokenizer.encode("Yes.")
    whole = scores_of(teacher, prompt, before + sentence)
    assert rows[-1]["n_teacher_tokens"] == len(sentence)
    expected = math.exp(whole[-len(sentence) :].mean())
    assert rows[-1]["p_teacher"] == pytest.approx(expected, abs=1e-6)
    for row in rows:
        assert row["p_distilled"] == pytest.approx(row["p_student"] * math.exp(-0.5), rel=1e-4)


def test_an_answer_that_cannot_be_judged_is_left_out_with_its_reason(
    student: TransformersEngine, teacher: TransformersEngine
) -> None:
    eos = student.tokenizer.eos_token_id
    long = student.tokenizer.encode("so " * 5_000, add_special_tokens=False)
    for changes, reason in (
        ({"logprobs": None}, "no_logprobs"),
        ({"token_ids": [eos, 5], "logprobs": [0.0, 0.0]}, "special token <|im_end|> at 0"),
        ({"token_ids": long, "logprobs": [-1.0] * len(long)}, "beyond_context"),
    ):
        found = answers(student, **changes)
        scores = teacher_scores(found, teacher, student)
        assert scores["left_out"].to_pylist() == [None, reason]
        assert scores["logprobs"].to_pylist()[1] == []
        rows = pa.Table.from_batches(
            answer_provenance(
                found, scores.to_batches(), student, settings=EvaluationProvenance(),
                segmenter=segmenter_named("reasoning-rules"), system_prompt=SYSTEM,
            ),
            EVALUATION_PROVENANCE,
        )  # fmt: skip
        assert set(rows["answer_id"].to_pylist()) == {"a0"}


def test_without_any_logprobs_there_is_no_sentence_and_the_reason_is_counted(
    student: TransformersEngine, teacher: TransformersEngine
) -> None:
    found = answers(student, logprobs=None)
    second = Answers([list(found.batches)[1]], 1, found.prompts)
    scores = teacher_scores(second, teacher, student)
    assert scores["left_out"].to_pylist() == ["no_logprobs"]
    rows = answer_provenance(
        second, scores.to_batches(), student, settings=EvaluationProvenance(),
        segmenter=segmenter_named("reasoning-rules"), system_prompt=SYSTEM,
    )  # fmt: skip
    assert list(rows) == []


@given(P, P, P, st.floats(0.01, 0.5), st.floats(0.01, 0.5))
def test_the_classes_are_asked_for_in_the_papers_order(
    p_t: float, p_s: float, p_d: float, alpha: float, beta: float
) -> None:
    (place,) = answer_classes(*(np.array([p]) for p in (p_t, p_s, p_d)), alpha, beta)
    if abs(p_s - p_d) <= alpha and abs(p_t - p_d) <= alpha and abs(p_t - p_s) <= alpha:
        expected = "shared"
    elif p_t - p_s > beta:
        expected = "teacher"
    elif p_s - p_t > beta:
        expected = "student"
    else:
        expected = "boosted"
    assert CLASSES[place] == expected


def test_a_sentence_without_a_probability_on_one_side_is_unscored() -> None:
    nan, half = np.array([math.nan]), np.array([0.5])
    for one in range(3):
        probabilities = [nan if index == one else half for index in range(3)]
        assert CLASSES[answer_classes(*probabilities, 0.1, 0.1)[0]] == "unscored"
