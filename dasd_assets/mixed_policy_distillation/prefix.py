"""What the student wrote before a cut, in its canonical text and in the teacher's format.

Both have the same reasoning and the same answer, character for character as the student sampled
them, white space at the cut included. Only the white space next to a mark is the format's: it
becomes what all training texts have (`student_text`), and what the teacher's format has.
"""

from __future__ import annotations

from dataclasses import dataclass

from formats.answer_format import AnswerFormat, Pieces
from formats.student_text import THINK_CLOSE, THINK_OPEN

REASONING, ANSWER = "reasoning", "answer"


@dataclass(frozen=True)
class Prefix:
    """What is kept of a rollout."""

    student_text: str
    """Its canonical text."""
    wire: Pieces
    """Marks of the teacher's format, each with the student's text behind it."""
    cut_part: str


def teacher_prefix(
    kept: str, discarded: str, student: AnswerFormat, teacher: AnswerFormat
) -> Prefix:
    """A student's text, cut anywhere, in the teacher's format.

    Where the student's reasoning is not finished, the teacher's stays open; beyond it, or inside
    the mark between, the reasoning is finished and the answer begun.

    Args:
        kept: the text before the cut.
        discarded: the text behind it, which tells a cut inside a mark from text like it.

    Raises:
        FormatError: `no_place_in_format`: the teacher's format has no reasoning, but the rollout.
    """
    reasoning, answer = student.begun(kept, discarded)
    wire = teacher.pieces(reasoning, answer)
    if answer is None:
        return Prefix(THINK_OPEN + reasoning, wire, REASONING)
    return Prefix(begun_text(reasoning, answer), wire, ANSWER)


def begun_text(reasoning: str, answer: str) -> str:
    """The canonical text up to a cut in the answer."""
    return f"{THINK_OPEN}{reasoning}{THINK_CLOSE}{answer}" if reasoning else answer


def begun_parts(prefix_text: str, cut_part: str) -> tuple[str, str | None]:
    """Reasoning and answer of a `Prefix.student_text`; None: the answer has not begun."""
    begun = prefix_text.removeprefix(THINK_OPEN)
    if cut_part == REASONING:
        return begun, None
    if begun == prefix_text:
        return "", prefix_text
    reasoning, _, answer = begun.partition(THINK_CLOSE)
    return reasoning, answer
