"""Properties are what they are called, on answers that are written by hand."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from tools.tiny_world.corpus import ANALYSIS, FINAL
from tools.tiny_world.measuring import Sample, is_correct
from tools.tiny_world.problems import Step, slipped, walked
from tools.tiny_world.properties import (
    LIMITS,
    first_result,
    has_slip,
    missed,
    student_properties,
    teacher_properties,
    way,
    wrong_beginnings,
)
from tools.tiny_world.questions import DRAW
from tools.tiny_world.wording import say

PROBLEM = DRAW["math"](random.Random(3), 1)
RNG = random.Random(0)


def _answer(
    *ways: int, slips: bool = False, wrong: bool = False, likelihood: float = 0.5
) -> Sample:
    """The teacher's answer by these ways, the first of which may slip, and the last be wrong."""
    passes = [walked(PROBLEM, one) for one in ways]
    if slips:
        passes[0] = slipped(PROBLEM, ways[0], RNG)
    steps: list[Step] = [
        PROBLEM.plan,
        *passes[0].steps,
        Step("result", {"result": passes[0].result}),
    ]
    for before, done in pairwise(passes):
        key = "agrees" if done.result == before.result else "disagrees"
        verdict = {"result": done.result, "earlier": before.result}
        steps += [Step("check", {}), *done.steps, Step(key, verdict)]
    answer = "1" if wrong else passes[-1].answer
    text = " ".join(say(step, RNG, 1.0) for step in steps)
    text = f"{ANALYSIS}{text}{FINAL}\\boxed{{{answer}}}<|return|>"
    return Sample(PROBLEM, text, 30, True, likelihood)


def test_ways_and_slips_are_read_off_the_sentences() -> None:
    answer = _answer(1, 0, slips=True)
    assert way(answer.text) == tuple(walked(PROBLEM, n).steps[0].key for n in (1, 0))
    assert has_slip(answer)
    assert is_correct(answer)
    assert not has_slip(_answer(0))
    assert first_result(f"{ANALYSIS}Hm.") is None


def test_teacher_properties() -> None:
    low = [_answer(0, 1, likelihood=p) for p in (0.80, 0.81, 0.82, 0.83)] * 2
    tool_call = Sample(PROBLEM, f"{ANALYSIS}Hm.<|call|>", 5, True)
    high = [
        _answer(0, 1, likelihood=0.3),
        _answer(1, 0, likelihood=0.5),
        _answer(0, 1, slips=True, likelihood=0.7),
        _answer(0, slips=True, likelihood=0.9),
        tool_call,
    ]
    found = teacher_properties(low, high, [_answer(0, 1), _answer(0, wrong=True)])
    assert found["teacher_right_low"] == 1
    assert found["teacher_right_high"] == 0.75, "of whole answers"
    assert found["teacher_right_high_of_all"] == 0.6
    assert found["slips_high"] == 0.5
    assert found["slips_ratio"] == pytest.approx(4), "none at T = 0.6 counts as one of eight"
    assert found["mended"] == 0.5
    assert found["ways_ratio"] == 4, "two passes by either order, one pass, and none"
    assert found["likelihood_spread_ratio"] > 2
    assert found["tool_call"] == 0.2
    assert found["finished_right"] == 0.5


def test_student_properties() -> None:
    right, wrong = _answer(0), _answer(0, wrong=True)
    found = student_properties([right, right], [right, wrong], [right, right])
    assert found["student_kept"] == 0.5
    assert found["student_checks"] == 0
    assert found["failed_1"] == 0.5


def test_what_is_outside_its_limits_is_named() -> None:
    good = {name: (least or 0) + 1e-6 for name, (least, _) in LIMITS.items()}
    good["teacher_gap"] = 0.0
    assert missed(good) == []
    assert missed({**good, "teacher_gap": -0.04, "mended": 0.8}) == ["teacher_gap", "mended"]


def test_a_wrong_beginning_ends_with_a_wrong_result() -> None:
    begun = wrong_beginnings([PROBLEM] * 5, seed=1)
    assert begun
    for problem, text in begun:
        assert first_result(text) not in (None, walked(problem, 0).result)
