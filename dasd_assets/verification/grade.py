"""What a grader says."""

from __future__ import annotations

from dataclasses import dataclass


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
