"""The student's format, there and back, with every token in its place."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from dasd_assets.profile import PROJECT_ROOT
from formats.student_text import (
    THINK_OPEN,
    part_spans,
    split_student_text,
    student_text,
    student_token_starts,
)
from formats.student_tokens import encode_response
from formats.token_bytes import TokenBytes


@cache
def student() -> tuple[Any, TokenBytes]:
    tokenizer = AutoTokenizer.from_pretrained(PROJECT_ROOT / "tiny_world" / "models" / "student")
    return tokenizer, TokenBytes(tokenizer)


PART = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<|>"), max_size=40)
    .map(str.strip)
    .filter(bool)
)


@settings(deadline=None, max_examples=150)
@given(reasoning=PART, answer=PART)
def test_tokens_of_both_parts_are_placed_and_the_template_is_not(
    reasoning: str, answer: str
) -> None:
    tokenizer, token_bytes = student()
    text = student_text(reasoning, answer)
    split = split_student_text(text)
    assert (split.reasoning, split.answer) == (reasoning, answer)
    ids = np.asarray(encode_response(tokenizer, text), np.int32)
    starts = student_token_starts(ids, token_bytes, reasoning, answer)
    assert starts[-1] == -1
    encoded = text.encode()
    spans = part_spans(reasoning, answer)
    for token, start in zip(ids, starts, strict=True):
        piece = token_bytes.decode(np.array([token]))
        if piece in (b"<think>", b"</think>"):
            assert start == -1
        if start >= 0:
            assert any(begin <= start < end for begin, end in spans)
            content = piece.strip(b" \t\n\r\x0b\x0c")
            if content:
                assert encoded[start : start + 1] == content[:1]


def test_a_template_that_opens_thinking_shifts_nothing() -> None:
    tokenizer, token_bytes = student()
    text = student_text("Ones: 1.", "It is 1.")
    whole = np.asarray(encode_response(tokenizer, text), np.int32)
    opened = len(tokenizer.encode(THINK_OPEN, add_special_tokens=False))
    starts = student_token_starts(whole, token_bytes, "Ones: 1.", "It is 1.")
    without = student_token_starts(whole[opened:], token_bytes, "Ones: 1.", "It is 1.")
    assert without.tolist() == starts[opened:].tolist()
    with pytest.raises(ValueError, match="the tokens spell"):
        student_token_starts(whole[opened + 2 :], token_bytes, "Ones: 1.", "It is 1.")


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("<think>\nnever closed", "never closed", None),
        ("no mark at all", "no mark at all", None),
        ("thinking\n</think>\n\nanswer", "thinking", "answer"),
        ("<think>\n\n</think>\n\nanswer", None, "answer"),
        ("<think>\nthinking\n</think>\n", "thinking", None),
        ("\n <think>\nthinking\n</think>\n\nanswer", "thinking", "answer"),
        ("", None, None),
    ],
)
def test_incomplete_answers(text: str, reasoning: str | None, answer: str | None) -> None:
    split = split_student_text(text)
    assert (split.reasoning, split.answer) == (reasoning, answer)
