"""A student's own answer as text in its parts, with the places of its tokens and of the teacher's.

Sentences are spans of the answer's canonical text (`formats.student_text`). What a student sampled
differs from it in the white space next to the marks of thinking at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dasd_assets.answering.teacher_tokens import NoAnswerTextError
from dasd_assets.mixed_policy_distillation.prefix import teacher_prefix
from dasd_assets.mixed_policy_distillation.usable import no_text, whole_characters
from formats.chat import chat, chat_text
from formats.harmony import FINAL_OPEN
from formats.student_text import CLOSE_MARK, OPEN_MARK, TEMPLATE, part_spans
from formats.token_bytes import TokenBytes

Integers = npt.NDArray[np.int32]


@dataclass(frozen=True)
class AnswerText:
    """One answer.

    Attributes:
        reasoning, answer: without outer white space; empty if the part is not there.
        wire: the answer in the teacher's format, as (mark, text) pieces.
        token_starts: byte of the canonical text where each of the student's tokens has its first
            non-space byte, int32; -1 for tokens of the template.
    """

    reasoning: str
    answer: str
    wire: tuple[tuple[str, str], ...]
    token_starts: Integers


def prompt_opens_thinking(tokenizer: Any) -> bool:
    """Whether a student's chat template begins the thinking part itself."""
    return chat_text(tokenizer, chat("", "")).rstrip().endswith(OPEN_MARK)


def answer_text(
    token_ids: Integers, has_ended: bool, token_bytes: TokenBytes, is_thinking: bool = False
) -> AnswerText:
    """Take a sampled answer apart.

    An answer that was cut off before its closing mark is all reasoning. One that came to its end
    without any mark is all answer, as in the evaluation: the model did not think first.

    Args:
        token_ids: emitted tokens.
        has_ended: whether the last of them is the stop token.
        token_bytes: byte tables of the student's tokenizer.
        is_thinking: whether the prompt has begun the thinking part (`prompt_opens_thinking`).

    Raises:
        NoAnswerTextError: a token stands for no text, or none begins in it.
    """
    emitted = token_ids[:-1] if has_ended else token_ids
    if problem := no_text(emitted, token_bytes):
        raise NoAnswerTextError(problem)
    text = whole_characters(token_bytes.decode(emitted)).rstrip()
    is_plain = has_ended and not is_thinking and not text.lstrip().startswith(OPEN_MARK)
    wire = teacher_prefix(text).wire
    if is_plain and CLOSE_MARK not in text:
        wire = (("", ""), (FINAL_OPEN, text.strip()))
    parts = dict(enumerate(part for _, part in wire))
    reasoning, answer = parts[0], parts.get(1, "")
    if not reasoning and not answer:
        raise NoAnswerTextError("no text")
    before_mark = text.partition(CLOSE_MARK)[0].rstrip() if reasoning else ""
    starts = token_bytes.token_starts(emitted) + token_bytes.first_nonspace[emitted]
    found = np.full(len(token_ids), TEMPLATE, np.int32)
    ends = (len(before_mark.encode()), len(text.encode()))
    for end, (first, after) in zip(ends, part_spans(reasoning, answer), strict=True):
        begin = end - (after - first)
        inside = np.flatnonzero((starts >= begin) & (starts < end))
        found[inside] = starts[inside] - begin + first
    if (found == TEMPLATE).all():
        raise NoAnswerTextError("no token begins in the text")
    return AnswerText(reasoning, answer, wire, found)
