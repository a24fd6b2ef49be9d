"""What a generated problem and its worked solution look like, before any wording.

A solution is a list of steps (a key and its values); how a step reads in English is the
business of `wording`. The same solution can thus be told in the teacher's words or the
student's, tersely or with a double-check.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """One step of a solution: the key of its wording and the values to fill in."""

    key: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Solution:
    """Steps in order, and the text of the final answer without any wording around it."""

    steps: tuple[Step, ...]
    answer_key: str
    answer: str


class Slip:
    """Lets the n-th value of a solution go wrong.

    A solver passes every value that it works out through `number` or `choice`. With `at`
    empty the values come back unchanged and `calls` counts how many there were; otherwise the
    values whose 0-based index is in `at` are replaced by wrong ones.
    """

    def __init__(self, rng: random.Random | None = None, at: frozenset[int] = frozenset()) -> None:
        self._rng = rng or random.Random(0)
        self._at = at
        self.calls = 0

    def _is_now(self) -> bool:
        self.calls += 1
        return self.calls - 1 in self._at

    def number(self, value: int) -> int:
        """The non-negative value, or one that is off by 1, 2 or 10."""
        if not self._is_now():
            return value
        return self._rng.choice([v for d in (1, -1, 2, -2, 10) if (v := value + d) >= 0])

    def choice(self, value: T, options: Sequence[T]) -> T:
        """The value, or another of the options."""
        if not self._is_now():
            return value
        others = [option for option in options if option != value]
        return self._rng.choice(others) if others else value


@dataclass(frozen=True)
class Question:
    """What is asked, and what an answer is compared with.

    Attributes:
        question: natural-language text, as the user of a model would type it.
        domain: one of `math`, `code`, `science`, `instruction_following`.
        reference: what the domain's grader compares with.
        difficulty: 1 (easy) to 3 (hard).
        kind: the template family, e.g. `addition`.
    """

    question: str
    domain: str
    reference: Any
    difficulty: int
    kind: str


@dataclass(frozen=True)
class Problem(Question):
    """A question and a way to work it out.

    Attributes:
        solve: works the problem out, with values passed through the given slip.
    """

    solve: Callable[[Slip], Solution]


def solve_with_slips(problem: Problem, rng: random.Random, n_slips: int) -> Solution:
    """The problem's solution with `n_slips` of its values gone wrong (0: the right one)."""
    if n_slips == 0:
        return problem.solve(Slip())
    counter = Slip()
    problem.solve(counter)
    at = rng.sample(range(counter.calls), min(n_slips, counter.calls))
    return problem.solve(Slip(rng, frozenset(at)))
