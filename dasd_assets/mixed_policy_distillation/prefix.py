"""A student's text, cut anywhere, in the student's and in the teacher's own format.

Both have the same reasoning and the same answer, character for character as the student sampled
them, white space at the cut included. Only the white space next to a mark of thinking is the
format's: it becomes what all training texts have (`student_text`), and nothing in Harmony.
"""

from __future__ import annotations

from dataclasses import dataclass

from formats.harmony import ANALYSIS_OPEN, FINAL_OPEN, NEXT_MESSAGE
from formats.student_text import CLOSE_MARK, OPEN_MARK, THINK_CLOSE, THINK_OPEN

REASONING, ANSWER = "reasoning", "answer"


@dataclass(frozen=True)
class Prefix:
    """What is kept of a rollout, in both formats."""

    student_text: str
    wire: tuple[tuple[str, str], ...]
    """Harmony's marks, each with the student's text behind it."""
    cut_part: str


def teacher_prefix(kept: str, discarded: str = "") -> Prefix:
    """A student's text, cut anywhere, in the teacher's format.

    Inside the thinking part the analysis channel stays open. Beyond it, or inside its closing mark,
    the analysis is finished and the final channel is open.

    Args:
        kept: the text before the cut.
        discarded: the text behind it, which tells a cut inside a mark from text like it.
    """
    kept = _without_half_mark(kept, discarded)
    body = kept.lstrip().removeprefix(OPEN_MARK)
    reasoning, mark, answer = body.partition(CLOSE_MARK)
    if not mark:
        reasoning = reasoning.lstrip()
        return Prefix(THINK_OPEN + reasoning, ((ANALYSIS_OPEN, reasoning),), REASONING)
    reasoning, answer = reasoning.strip(), answer.lstrip()
    return Prefix(
        f"{THINK_OPEN}{reasoning}{THINK_CLOSE}{answer}",
        ((ANALYSIS_OPEN, reasoning), (NEXT_MESSAGE + FINAL_OPEN, answer)),
        ANSWER,
    )


def _without_half_mark(kept: str, discarded: str) -> str:
    """The kept text without a mark's beginning at its end; a closing mark is made whole.

    A mark is one token to most students, and its characters are plain text to no model.
    """
    text = kept + discarded
    start = len(text) - len(text.lstrip())
    if text.startswith(OPEN_MARK, start) and len(kept) < start + len(OPEN_MARK):
        return ""
    start = text.find(CLOSE_MARK)
    end = start + len(CLOSE_MARK)
    return text[:end] if 0 <= start < len(kept) < end else kept
