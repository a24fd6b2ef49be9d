"""What a generated problem and the ways to work it out look like, before any wording.

A problem has several ways to its result, the common one first. A way is walked with a mind, which
works the values out: a plain one is right, one with a slip goes wrong once, one with beliefs takes
the same wrong thing for true every time.
"""

from __future__ import annotations

import hashlib
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
class Pass:
    """One walk through a problem: its sentences, what came out, and the answer that follows.

    `result` is what two passes are compared by; `answer` is the final answer's text without any
    wording around it.
    """

    steps: tuple[Step, ...]
    result: str
    answer: str


class Mind:
    """Works out each value of a pass. This one is always right."""

    def number(self, value: int, fact: str | None, unit: int = 1) -> int:
        """The non-negative value, or one that is off by one unit.

        Args:
            value: what is right.
            fact: what has to be known for it; None where the value is only read off.
            unit: by how much a wrong value differs.
        """
        return value

    def choice(self, value: T, options: Sequence[T], fact: str | None) -> T:
        """The value, or another of the options; `fact` as for `number`."""
        return value


class Slip(Mind):
    """Goes wrong at the values whose 0-based index is in `at`; `calls` counts all of them."""

    def __init__(self, rng: random.Random | None = None, at: frozenset[int] = frozenset()) -> None:
        self._rng = rng or random.Random(0)
        self._at = at
        self.calls = 0

    def _is_now(self) -> bool:
        self.calls += 1
        return self.calls - 1 in self._at

    def number(self, value: int, fact: str | None, unit: int = 1) -> int:
        """The value, or one that is a unit more or less."""
        if not self._is_now():
            return value
        return self._rng.choice([v for d in (unit, -unit) if (v := value + d) >= 0])

    def choice(self, value: T, options: Sequence[T], fact: str | None) -> T:
        """The value, or another of the options."""
        if not self._is_now():
            return value
        return self._rng.choice([option for option in options if option != value] or [value])


class Beliefs(Mind):
    """Takes a fixed share of all facts wrongly, and each of them in the same way every time.

    What a fact's name hashes to decides (SHA-256: like names get unlike draws).
    """

    def __init__(self, wrong_share: float) -> None:
        self._wrong_share = wrong_share

    def _wrong(self, fact: str | None) -> int | None:
        """A number to choose the wrong value by; None where the fact is known."""
        if fact is None:
            return None
        digest = hashlib.sha256(fact.encode()).digest()
        is_wrong = int.from_bytes(digest[:4]) < self._wrong_share * 2**32
        return int.from_bytes(digest[4:8]) if is_wrong else None

    def number(self, value: int, fact: str | None, unit: int = 1) -> int:
        """The value, or what is believed in its place."""
        draw = self._wrong(fact)
        if draw is None:
            return value
        return value - unit if draw % 2 and value >= unit else value + unit

    def choice(self, value: T, options: Sequence[T], fact: str | None) -> T:
        """The value, or what is believed in its place."""
        draw = self._wrong(fact)
        others = [option for option in options if option != value]
        return value if draw is None or not others else others[draw % len(others)]


Way = Callable[[Mind], Pass]


@dataclass(frozen=True)
class Problem:
    """A question, what an answer is compared with, and the ways to work it out.

    Attributes:
        question: natural-language text, as the user of a model would type it.
        domain: one of `math`, `code`, `science`, `instruction_following`.
        reference: what the domain's grader compares with.
        difficulty: 1 (one thing to work out) or 2 (several that build on each other).
        kind: the template family, e.g. `sum`.
        plan: the sentence that says what is asked.
        ways: three or four, the common one first.
    """

    question: str
    domain: str
    reference: Any
    difficulty: int
    kind: str
    plan: Step
    ways: tuple[Way, ...]


def walked(problem: Problem, way: int) -> Pass:
    """The right pass by that way."""
    return problem.ways[way](Mind())


def slipped(problem: Problem, way: int, rng: random.Random) -> Pass:
    """A pass by that way in which one value, drawn evenly, has gone wrong."""
    counter = Slip()
    problem.ways[way](counter)
    return problem.ways[way](Slip(rng, frozenset({rng.randrange(counter.calls)})))
