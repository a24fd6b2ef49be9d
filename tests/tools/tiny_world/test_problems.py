"""Every generated problem's own solution must satisfy its grader, and slips must spoil it."""

from __future__ import annotations

import random

import pytest

from dasd_assets.verification.graders import grade
from tools.tiny_world.problems import Slip, solve_with_slips
from tools.tiny_world.questions import DOMAINS, DRAW
from tools.tiny_world.wording import STUDENT, TEACHER, tell

N = 300


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("book", [TEACHER, STUDENT], ids=["teacher", "student"])
def test_right_solutions_pass_the_grader(domain: str, book: object) -> None:
    rng = random.Random(1)
    for _ in range(N):
        problem = DRAW[domain](rng)
        _, answer = tell(problem.solve(Slip()), book, rng.random() < 0.5, rng)
        result = grade(domain, answer, problem.reference)
        assert result.is_correct, (problem.question, answer, result)
        assert problem.difficulty in (1, 2, 3)


@pytest.mark.parametrize("domain", DOMAINS)
def test_most_slips_make_the_answer_wrong(domain: str) -> None:
    rng = random.Random(2)
    n_wrong = 0
    for _ in range(N):
        problem = DRAW[domain](rng)
        _, answer = tell(solve_with_slips(problem, rng, 1), TEACHER, False, rng)
        n_wrong += not grade(domain, answer, problem.reference).is_correct
    # Some slips are harmless: a wrong fact can still lead to the right option.
    assert n_wrong > 0.5 * N


def test_slip_changes_only_the_chosen_calls() -> None:
    slip = Slip(random.Random(0), frozenset({1}))
    values = [slip.number(0), slip.number(0), slip.choice("a", ("a", "b"))]
    assert values[0] == 0
    assert values[1] > 0
    assert values[2] == "a"
    assert slip.calls == 3


def test_verbose_style_is_much_longer_and_says_the_same_answer() -> None:
    rng = random.Random(3)
    ratios = []
    for domain in DOMAINS:
        for _ in range(50):
            solution = DRAW[domain](rng).solve(Slip())
            terse, _ = tell(solution, TEACHER, False, rng)
            verbose, _ = tell(solution, TEACHER, True, rng)
            ratios.append(len(" ".join(verbose)) / len(" ".join(terse)))
            assert len(terse) >= 3
    ratios.sort()
    # Answers of one style are to be cut at 1.5 times the length of the other.
    assert ratios[len(ratios) // 20] >= 1.7
