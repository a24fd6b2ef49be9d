"""The canonical text of a response, as it stands in the lake (`response_text`), for every student.

`<think>`, the reasoning, `</think>`, the answer; without a reasoning the answer alone. What a
student of another format is trained on is made from it (`formats.model_format`); places of tokens
and sentences are bytes of this text.
"""

from __future__ import annotations

OPEN_MARK, CLOSE_MARK = "<think>", "</think>"
THINK_OPEN = f"{OPEN_MARK}\n"
THINK_CLOSE = f"\n{CLOSE_MARK}\n\n"

TEMPLATE = -1
"""Token start of a token that stands for no byte of reasoning or answer."""


def student_text(reasoning: str, answer: str) -> str:
    """The canonical text of a response. Both parts must be stripped of outer white space."""
    return f"{THINK_OPEN}{reasoning}{THINK_CLOSE}{answer}" if reasoning else answer


def response_parts(text: str) -> tuple[str, str]:
    """Reasoning and answer of a canonical text; a part that is not there is empty."""
    if not text.startswith(THINK_OPEN):
        return "", text
    reasoning, _, answer = text.removeprefix(THINK_OPEN).partition(THINK_CLOSE)
    return reasoning, answer


def part_spans(reasoning: str, answer: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Byte spans of the reasoning and of the answer in the canonical text."""
    n_reasoning, n_answer = len(reasoning.encode()), len(answer.encode())
    if not n_reasoning:
        return (0, 0), (0, n_answer)
    start = len(THINK_OPEN.encode())
    end = start + n_reasoning
    answer_start = end + len(THINK_CLOSE.encode())
    return (start, end), (answer_start, answer_start + n_answer)
