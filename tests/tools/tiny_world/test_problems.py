"""Every way through every problem must satisfy the grader, and slips and beliefs must spoil it."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from dasd_assets.verification.graders import grade
from tools.tiny_world.problems import Beliefs, Pass, Problem, Slip, Step, slipped, walked
from tools.tiny_world.questions import DOMAINS, DRAW
from tools.tiny_world.wording import PHRASES, say

N = 300
everywhere = pytest.mark.parametrize("domain", DOMAINS)
levels = pytest.mark.parametrize("level", [1, 2])


def _problems(domain: str, level: int, n: int = N) -> list[Problem]:
    rng = random.Random(f"{domain}/{level}")
    return [DRAW[domain](rng, level) for _ in range(n)]


def _is_right(problem: Problem, done: Pass) -> bool:
    answer = say(Step(f"{problem.domain}_answer", {"answer": done.answer}), random.Random(0), 1.0)
    return grade(problem.domain, answer, problem.reference).is_correct


@everywhere
@levels
def test_every_way_leads_to_the_right_result(domain: str, level: int) -> None:
    for problem in _problems(domain, level):
        assert problem.difficulty == level
        assert len(problem.ways) in (3, 4)
        passes = [walked(problem, way) for way in range(len(problem.ways))]
        assert {done.result for done in passes} == {passes[0].result}
        assert len({done.steps[0].key for done in passes}) == len(passes), "ways read alike"
        assert all(_is_right(problem, done) for done in passes), problem.question


@everywhere
@levels
def test_most_slips_make_the_answer_wrong(domain: str, level: int) -> None:
    rng = random.Random(2)
    problems = _problems(domain, level)
    wrong = [not _is_right(problem, slipped(problem, 0, rng)) for problem in problems]
    # Some slips are harmless: a wrong fact can still lead to the right option.
    assert sum(wrong) > 0.6 * N


def test_a_slip_changes_only_the_chosen_values() -> None:
    slip = Slip(random.Random(0), frozenset({1}))
    values = [slip.number(0, None), slip.number(0, None, 10), slip.choice("a", "ab", None)]
    assert values == [0, 10, "a"]
    assert slip.calls == 3


def test_beliefs_are_wrong_of_a_fixed_share_of_facts_in_the_same_way_every_time() -> None:
    facts = [f"{n} plus {m}" for n in range(40) for m in range(40)]
    first, again = ([Beliefs(0.3).number(50, f, 10) for f in facts] for _ in range(2))
    assert first == again
    found = Counter(first)
    assert found.keys() == {40, 50, 60}
    assert 0.66 < found[50] / len(facts) < 0.74
    assert Beliefs(1.0).number(7, None) == 7, "what is only read off is never believed wrongly"
    assert Beliefs(1.0).number(0, "no less than 0") == 1
    assert Beliefs(1.0).choice("a", ("a", "b"), "a or b") == "b"
    assert Beliefs(1.0).choice("a", ("a",), "a alone") == "a"


@everywhere
def test_the_second_level_is_harder_to_beliefs(domain: str) -> None:
    right = [
        sum(_is_right(p, p.ways[0](Beliefs(0.2))) for p in _problems(domain, level))
        for level in (1, 2)
    ]
    assert right[1] < right[0]


def test_each_phrase_is_used() -> None:
    rng = random.Random(0)
    seen = set()
    for domain in DOMAINS:
        for level in (1, 2):
            for problem in _problems(domain, level, 100):
                seen.add(problem.plan.key)
                seen |= {step.key for way in problem.ways for step in way(Slip(rng)).steps}
    said_elsewhere = {"read_options", "result", "check", "agrees", "disagrees"}
    answers = {f"{domain}_answer" for domain in DOMAINS}
    assert seen | said_elsewhere | answers == set(PHRASES)
