"""What a grader says, and what every grader is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Grade:
    """The verdict on one answer.

    Attributes:
        is_correct: whether the answer meets the reference.
        reason: a short code: `correct`, or what is wrong.
        extracted: the part of the answer that was judged; None when there was none.
        detail: what was found and what was expected, for a wrong answer.
    """

    is_correct: bool
    reason: str
    extracted: str | None = None
    detail: str = ""


class NotJudgedError(ValueError):
    """There is no verdict, and neither answer nor reference is to blame; the message says why."""


class Grader(Protocol):
    """What judges the answers of a domain."""

    def grade(self, question: str, answer: str, reference: Any) -> Grade:
        """Judge an answer's final text by one reference.

        Raises:
            ValueError: the reference is malformed. Text in `answer` never raises.
            NotJudgedError: a judge gave no verdict.
        """
        ...

    def check_reference(self, reference: Any) -> None:
        """Raise ValueError unless one reference can be used; runs no program, asks no judge."""
        ...
