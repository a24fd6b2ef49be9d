"""A student's own answer as text in its parts, with the places of its tokens and of the teacher's.

Sentences are spans of the answer's canonical text (`formats.student_text`). What a student sampled
differs from it in the white space next to the marks of its format at most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dasd_assets.answering.teacher_tokens import NoAnswerTextError, tokens_in_format
from formats.answer_format import AnswerFormat, FormatError, Pieces
from formats.model_format import ModelFormat
from formats.student_text import TEMPLATE

Integers = npt.NDArray[np.int32]


@dataclass(frozen=True)
class AnswerText:
    """One answer.

    Attributes:
        reasoning, answer: without outer white space; empty if the part is not there.
        wire: the answer in the teacher's format.
        token_starts: byte of the canonical text where each of the student's tokens has its first
            non-space byte, int32; -1 for tokens of the template.
    """

    reasoning: str
    answer: str
    wire: Pieces
    token_starts: Integers


def answer_text(token_ids: Integers, student: ModelFormat, teacher: AnswerFormat) -> AnswerText:
    """Take a sampled answer apart.

    Args:
        token_ids: emitted tokens.

    Raises:
        NoAnswerTextError: a token stands for no text, none begins in it, or the teacher's format
            has no place for it.
    """
    try:
        parts = student.format.parse(token_ids, student.token_bytes)
        if not parts.reasoning and not parts.answer:
            raise NoAnswerTextError("no text")
        wire = teacher.pieces(parts.reasoning, parts.answer or None)
    except FormatError as error:
        raise NoAnswerTextError(error.evidence) from error
    if (parts.token_starts == TEMPLATE).all():
        raise NoAnswerTextError("no token begins in the text")
    return AnswerText(parts.reasoning, parts.answer, wire, parts.token_starts)


def teacher_tokens(answer: AnswerText, teacher: ModelFormat) -> tuple[Integers, Integers]:
    """The answer under the teacher's tokenizer, in its format, and the place of each token.

    Returns:
        Token ids and token starts (as in `AnswerText`), int32.

    Raises:
        NoAnswerTextError: the tokenizer rewrites the text so that no token can be placed in it.
    """
    return tokens_in_format(answer.reasoning, answer.answer, answer.wire, teacher)
