"""Training documents: passes, slips that are mended, flaws at their places, half-learnt facts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from itertools import islice

import pytest

from tools.tiny_world.corpus import (
    SHARPNESS,
    WAY_SHARES,
    flattened,
    one_pass,
    practice,
    problem_stream,
    read_by_student,
    reading,
    student_answer,
    teacher_answer,
)
from tools.tiny_world.drawing import Held, normalised
from tools.tiny_world.measuring import Sample, flaw, is_correct
from tools.tiny_world.problems import Problem
from tools.tiny_world.properties import has_slip, sentences, way
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
    held = Held(evaluation_problems(0))
    drawn = list(islice(problem_stream("any", held), 400))
    assert [p.domain for p in drawn[:4]] == list(DOMAINS)
    assert held.texts.isdisjoint(normalised(p.question) for p in drawn)


def test_sharpening_flattened_shares_gives_the_shares() -> None:
    sharpened = [share**SHARPNESS for share in flattened(WAY_SHARES)]
    assert [s / sum(sharpened) for s in sharpened] == pytest.approx(WAY_SHARES)


def test_each_slip_of_the_teacher_is_mended_and_each_flaw_occurs(problems: list[Problem]) -> None:
    rng = random.Random(0)
    samples = _samples(problems, [teacher_answer(p, rng) for p in problems])
    flaws = Counter(flaw(sample) for sample in samples)
    for name in ("loop", "tool_call", "no_final"):
        assert 0.004 < flaws[name] / N < 0.05, name
    whole = [sample for sample in samples if flaw(sample) is None]
    assert all(map(is_correct, whole))
    assert 0.08 < sum(map(has_slip, whole)) / len(whole) < 0.25
    assert {len(way(sample.text)) for sample in whole} == {1, 2, 3}
    assert all(len(set(way(s.text))) == len(way(s.text)) for s in whole), "a way is gone twice"


def test_a_teacher_that_practises_looks_twice_and_has_no_flaw(problems: list[Problem]) -> None:
    rng = random.Random(0)
    samples = _samples(problems, [practice(p, rng) for p in problems])
    assert {flaw(sample) for sample in samples} == {None}
    assert {len(way(sample.text)) for sample in samples} == {2}
    ways = Counter(way(s.text)[0] for s in samples if s.problem.domain == "code")
    assert max(ways.values()) < 1.4 * min(ways.values())


@pytest.mark.parametrize(("answer", "n_passes"), [(reading, 0), (one_pass, 1), (practice, 2)])
def test_what_both_read_before_is_right(
    problems: list[Problem], answer: Callable[[Problem, random.Random], str], n_passes: int
) -> None:
    rng = random.Random(0)
    if answer is reading:
        problems = [p for p in problems if p.domain == "science"]
    samples = _samples(problems, [read_by_student(p, rng, answer) for p in problems])
    assert all(map(is_correct, samples))
    assert {flaw(sample) for sample in samples} == {None}
    assert {len(way(sample.text)) for sample in samples} == {n_passes}


def test_the_student_is_half_learnt_and_goes_the_common_way_once(problems: list[Problem]) -> None:
    rng = random.Random(0)
    samples = _samples(problems, [student_answer(p, rng) for p in problems])
    assert {flaw(sample) for sample in samples} == {None}
    assert {len(way(sample.text)) for sample in samples} == {1}
    for domain in DOMAINS:
        right = [is_correct(s) for s in samples if s.problem.domain == domain]
        assert 0.25 < sum(right) / len(right) < 0.65, domain


def test_every_sentence_is_known_again(problems: list[Problem]) -> None:
    rng = random.Random(0)
    for problem in problems:
        text = teacher_answer(problem, rng)
        assert all(key for key, _ in sentences(text)), text
