"""The student's format: `<think>`, the reasoning, `</think>`, the answer (Qwen3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from formats.token_bytes import TokenBytes

OPEN_MARK, CLOSE_MARK = "<think>", "</think>"
THINK_OPEN = f"{OPEN_MARK}\n"
THINK_CLOSE = f"\n{CLOSE_MARK}\n\n"

TEMPLATE = -1
"""Token start of a token that stands for no byte of reasoning or answer."""


@dataclass(frozen=True)
class StudentAnswer:
    """A student's text taken apart; a part that is not there is None."""

    reasoning: str | None
    answer: str | None


def template_marks(student_tokenizer: Any) -> frozenset[str]:
    """Texts that must not stand in a response: marks of thinking and special tokens."""
    return frozenset({OPEN_MARK, CLOSE_MARK, *student_tokenizer.all_special_tokens})


def student_text(reasoning: str, answer: str) -> str:
    """The canonical text of a response. Both parts must be stripped of outer white space."""
    return f"{THINK_OPEN}{reasoning}{THINK_CLOSE}{answer}"


def split_student_text(text: str) -> StudentAnswer:
    """Take a student's own text apart, with or without the opening mark.

    Text without a closing mark is all reasoning: it has no answer.
    """
    before, mark, after = text.partition(CLOSE_MARK)
    reasoning = before.lstrip().removeprefix(OPEN_MARK).strip()
    if not mark:
        return StudentAnswer(reasoning or None, None)
    return StudentAnswer(reasoning or None, after.strip() or None)


def part_spans(reasoning: str, answer: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Byte spans of the reasoning and of the answer in the canonical text."""
    start = len(THINK_OPEN.encode())
    end = start + len(reasoning.encode())
    answer_start = end + len(THINK_CLOSE.encode())
    return (start, end), (answer_start, answer_start + len(answer.encode()))


def student_token_starts(
    token_ids: npt.NDArray[np.int32], token_bytes: TokenBytes, reasoning: str, answer: str
) -> npt.NDArray[np.int32]:
    """Where each student token's first non-space byte lies in the canonical text.

    Args:
        token_ids: the canonical text under the student's tokenizer, end token included; the
            opening mark may be missing (some chat templates put it into the prompt).
        token_bytes: the tokenizer's byte tables.

    Returns:
        int32 of the shape of `token_ids`; -1 for tokens of the template, the end token included.
    """
    reasoning_span, answer_span = part_spans(reasoning, answer)
    n_missing = answer_span[1] - int(token_bytes.n_bytes[token_ids].sum())
    if n_missing not in (0, len(THINK_OPEN)):
        raise ValueError(
            f"the tokens spell {answer_span[1] - n_missing} bytes, the text has {answer_span[1]}"
        )
    starts = token_bytes.token_starts(token_ids) + n_missing
    starts += token_bytes.first_nonspace[token_ids]
    inside = np.zeros(len(starts), bool)
    for begin, end in (reasoning_span, answer_span):
        inside |= (starts >= begin) & (starts < end)
    inside &= token_bytes.n_bytes[token_ids] > 0
    return np.where(inside, starts, TEMPLATE).astype(np.int32)
