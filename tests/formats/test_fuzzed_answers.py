"""Whatever a model writes is taken apart whole, or refused by a rule's name: never lost, no crash.

The examples are what this or a neighbouring project once got wrong, and what is odd in itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.scripted_engine import tokenizer

from formats.answer_format import MALFORMED, MISMATCH, AnswerFormat, AnswerParts, FormatError
from formats.encoding import token_bytes_of
from formats.harmony import HarmonyFormat
from formats.student_text import TEMPLATE, student_text
from formats.think import ThinkFormat

FUZZ = settings(deadline=None, max_examples=150, derandomize=True, database=None)

WORDS = ["It is", " 3", ".\n", "\n\n", " ", "é一😀", "x < y", "```python\nx\n```", "\x00", "\ufffd"]
HARMONY = [
    "<|channel|>", "analysis", "final", "commentary", "<|message|>", "<|end|>", "<|start|>",
    "assistant", "user", "<|return|>", "<|call|>", " to=functions.calc", "<|constrain|>", "json",
    "<|endoftext|>", "<|channel|>analysis<|message|>", "<|end|><|start|>assistant",
    "<|channel|>final<|message|>",
]  # fmt: skip
THINK = ["<think>", "</think>", "<think>\n", "\n</think>\n\n", "<tool_call>", "<|im_end|>",
         "<|im_start|>", "[THINK]", "[/THINK]", "<think", "</"]  # fmt: skip
FORMATS: list[tuple[str, AnswerFormat]] = [
    ("student", ThinkFormat()),
    ("student", ThinkFormat(opened="<think>\n")),
    ("student", ThinkFormat(name="plain")),
    ("student", ThinkFormat("[THINK]", "[/THINK]")),
]


def texts(marks: list[str]) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(marks) | st.sampled_from(WORDS), max_size=12).map("".join)


def outcome(
    model: str, form: AnswerFormat, ids: npt.NDArray[np.int32], text: str | None
) -> AnswerParts | None:
    """The parts, after what must hold of all of them; None if it was refused by a rule."""
    token_bytes = token_bytes_of(tokenizer(model))
    try:
        parts = form.parse(ids, token_bytes, text)
    except FormatError as error:
        assert error.rule in (MALFORMED, MISMATCH)
        assert error.evidence
        return None
    assert (parts.reasoning, parts.answer) == (parts.reasoning.strip(), parts.answer.strip())
    assert parts.token_starts.dtype == np.int32 and len(parts.token_starts) == len(ids)
    placed = parts.token_starts[parts.token_starts != TEMPLATE]
    n_bytes = len(student_text(parts.reasoning, parts.answer).encode())
    assert ((placed >= 0) & (placed < n_bytes)).all() and (np.diff(placed) >= 0).all()
    return parts


def encoded(model: str, text: str) -> npt.NDArray[np.int32]:
    return np.asarray(tokenizer(model).encode(text, add_special_tokens=False), np.int32)


def characters(text: str, marks: list[str]) -> str:
    """What is no mark and no white space."""
    for mark in sorted(marks, key=len, reverse=True):
        text = text.replace(mark, "")
    return re.sub(r"\s", "", text)


A, END, F = HARMONY[-3:]


@FUZZ
@given(texts(HARMONY))
@example(f"{A}a{END}{F}It is 3.{END}")
@example(f"{A}a{END}{F}It is 3.<|end|><|start|>user<|message|>And 2 + 2?{END}{F}It is 4.<|return|>")
@example(f"{A}a{END}<|channel|>commentary<|message|>Adding.{END}{F}3<|return|>")
@example(f'{A}a{END}<|channel|>final <|constrain|>json<|message|>{{"answer": 3}}<|return|>')
@example(f"{A}a{END}{F}3<|return|>{F}4")
@example("<|message|><|message|>")
@example("<|channel|>final to=functions.calc<|message|>3<|call|>")
@example(f"{A}\x00{END}{F}\ufffd<|return|>")
def test_fuzz_harmony(text: str) -> None:
    parts = outcome("teacher", HarmonyFormat(), encoded("teacher", text), text)
    HarmonyFormat().begun(text)
    if parts and not parts.tool_call:
        # Names of channels and roles are words, too; none of them has an upper-case letter.
        names = ["analysis", "final", "assistant", "json"]
        found = characters(parts.reasoning + parts.answer, names)
        assert characters(text, HARMONY + names) == characters(found, HARMONY)


@FUZZ
@given(st.sampled_from(FORMATS), texts(THINK))
@example(FORMATS[0], "<think>\nA.\n</think>\n\nB </think> C")
@example(FORMATS[0], "</think>")
@example(FORMATS[0], "<think><think>")
@example(FORMATS[1], "<think>\n</think>")
@example(FORMATS[3], "[/THINK][THINK]x")
def test_fuzz_thinking(model_and_form: tuple[str, AnswerFormat], text: str) -> None:
    model, form = model_and_form
    parts = outcome(model, form, encoded(model, text), text)
    form.begun(text)
    if parts:
        found = characters(parts.reasoning + parts.answer, THINK)
        assert found == characters(text, THINK)


@FUZZ
@given(st.lists(st.integers(-1, 700), max_size=12))
@example([-1])
@example([2**31 - 1])
@example([])
def test_fuzz_token_ids(ids: list[int]) -> None:
    """Halves of characters, marks anywhere, ids that the tokenizer does not have."""
    for model, form in [("teacher", HarmonyFormat()), *FORMATS]:
        outcome(model, form, np.asarray(ids, np.int32), None)


CONTINUING: list[Callable[[], tuple[str, Any, list[str]]]] = [
    lambda: ("teacher", HarmonyFormat(), HARMONY),
    lambda: ("student", ThinkFormat(), THINK),
]


@pytest.mark.parametrize("kind", CONTINUING)
def test_fuzz_continuations(kind: Callable[[], tuple[str, Any, list[str]]]) -> None:
    model, form, marks = kind()

    @FUZZ
    @given(texts(marks), st.none() | texts(marks), texts(marks))
    @example("a", None, "")
    @example("a", "b", END)
    @example(F, "b", "c<|return|>")
    def holds(reasoning: str, answer: str | None, text: str) -> None:
        try:
            form.pieces(reasoning, answer)
            told = form.continued(
                reasoning, answer, encoded(model, text), token_bytes_of(tokenizer(model))
            )
        except FormatError as error:
            assert error.evidence
        else:
            assert len(told) == 3

    holds()
