"""Training documents: both formats, flaws at the intended places, noise in proportion."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from tools.tiny_world.corpus import (
    STUDENT_LATE_WRONG_SHARE,
    problem_stream,
    student_answer,
    teacher_answer,
)
from tools.tiny_world.drawing import Held, normalised
from tools.tiny_world.measuring import Sample, flaw, is_correct
from tools.tiny_world.problems import Problem
from tools.tiny_world.questions import DOMAINS, evaluation_problems

N = 2_000


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    return list(islice(problem_stream("corpus-test", Held({})), N))


def _samples(problems: list[Problem], answers: list[str]) -> list[Sample]:
    ends = ("<|return|>", "<|call|>", "<|im_end|>")
    pairs = zip(problems, answers, strict=True)
    return [Sample(p, text, len(text), text.endswith(ends)) for p, text in pairs]


def test_problem_stream_takes_domains_in_turn_and_leaves_evaluation_alone() -> None:
    evaluation = evaluation_problems(0)
    held = Held(evaluation)
    drawn = list(islice(problem_stream("any", held), 400))
    assert [p.domain for p in drawn[:4]] == list(DOMAINS)
    assert held.texts.isdisjoint(normalised(p.question) for p in drawn)


def test_teacher_answers_are_mostly_right_and_show_every_flaw(problems: list[Problem]) -> None:
    rng = random.Random(0)
    samples = _samples(problems, [teacher_answer(p, rng) for p in problems])
    accuracy = sum(map(is_correct, samples)) / N
    assert 0.80 < accuracy < 0.92
    flaws = [flaw(sample) for sample in samples]
    for name in ("loop", "tool_call", "no_final"):
        assert 0.004 < flaws.count(name) / N < 0.05, name


def test_student_answers_are_mostly_wrong_but_well_formed(problems: list[Problem]) -> None:
    rng = random.Random(0)
    answers = [student_answer(p, rng, STUDENT_LATE_WRONG_SHARE) for p in problems]
    samples = _samples(problems, answers)
    assert 0.35 < sum(map(is_correct, samples)) / N < 0.55
    assert {flaw(sample) for sample in samples} == {None}
    assert all(text.startswith("<think>\n") for text in answers)


def test_a_student_without_slips_is_right(problems: list[Problem]) -> None:
    rng = random.Random(0)
    samples = _samples(problems, [student_answer(p, rng, 0.0) for p in problems])
    assert all(map(is_correct, samples))
