"""Answers that think between two marks of text, whatever opens them."""

from __future__ import annotations

import numpy as np
import pytest
from support.scripted_engine import encode, tokenizer

from formats.answer_format import FormatError
from formats.encoding import token_bytes_of
from formats.think import ThinkFormat, opened_by

THINK = ThinkFormat()
OPENED = ThinkFormat(opened="<think>\n")
CLOSED = ThinkFormat(opened="<think>\n\n</think>\n\n")
PLAIN = ThinkFormat(name="plain")
MISTRAL = ThinkFormat("[THINK]", "[/THINK]")


def parts_of(form: ThinkFormat, text: str) -> tuple[str, str]:
    ids = np.asarray(encode("student", text), np.int32)
    parts = form.parse(ids, token_bytes_of(tokenizer("student")), text)
    return parts.reasoning, parts.answer


@pytest.mark.parametrize(
    ("form", "text", "reasoning", "answer"),
    [
        (THINK, "<think>\nA.\n</think>\n\nB.<|im_end|>", "A.", "B."),
        (THINK, "\n <think>A.</think>B.", "A.", "B."),
        (THINK, "<think>\nnever closed", "never closed", ""),
        (THINK, "<think>\nA.\n</think>\n", "A.", ""),
        (THINK, "<think>\n\n</think>\n\nB.", "", "B."),
        (THINK, "A.\n</think>\n\nB.", "A.", "B."),
        (THINK, "B.<|im_end|>", "", "B."),
        (THINK, "", "", ""),
        (THINK, "<think>\nA.\n</think>\n\nB </think> C", "A.", "B </think> C"),
        (OPENED, "A.\n</think>\n\nB.", "A.", "B."),
        (OPENED, "cut off", "cut off", ""),
        (CLOSED, "B.", "", "B."),
        (PLAIN, "B <think> C", "", "B <think> C"),
        (MISTRAL, "[THINK]A.[/THINK]B.", "A.", "B."),
        (MISTRAL, "<think>\nA.\n</think>\n\nB.", "", "<think>\nA.\n</think>\n\nB."),
    ],
)
def test_an_answer_taken_apart(form: ThinkFormat, text: str, reasoning: str, answer: str) -> None:
    assert parts_of(form, text) == (reasoning, answer)


def test_a_special_token_within_an_answer_makes_it_malformed() -> None:
    with pytest.raises(FormatError, match=r"malformed_answer: special token <\|im_start\|> at"):
        parts_of(THINK, "<think>\nA.\n</think>\n\nB.<|im_start|>user C<|im_end|>")


def test_tokens_that_do_not_spell_the_text() -> None:
    ids = np.asarray(encode("student", "B!"), np.int32)
    with pytest.raises(FormatError, match="token_text_mismatch: tokens spell 'B!'"):
        THINK.parse(ids, token_bytes_of(tokenizer("student")), "B.")
    with pytest.raises(FormatError, match="token_text_mismatch: the tokenizer has no token 999999"):
        THINK.parse(np.array([999_999], np.int32), token_bytes_of(tokenizer("student")))


@pytest.mark.parametrize("call", ["<tool_call>\n{}", "[TOOL_CALLS][]"])
def test_a_tool_call_is_named(call: str) -> None:
    ids = np.asarray(encode("student", f"<think>\nA.\n</think>\n\n{call}"), np.int32)
    parts = THINK.parse(ids, token_bytes_of(tokenizer("student")))
    assert parts.tool_call == call[: len(parts.tool_call or "")]


@pytest.mark.parametrize(
    ("prompt", "opened"),
    [
        ("…assistant\n", ""),
        ("…assistant\n<think>", "<think>"),
        ("…assistant\n<think>\n", "<think>\n"),
        ("…assistant\n<think>\n\n", "<think>\n\n"),
        ("…assistant\n<think>\n\n</think>\n\n", "<think>\n\n</think>\n\n"),
        ("…think step by <think> step\nassistant\n", ""),
    ],
)
def test_what_a_generation_prompt_opens(prompt: str, opened: str) -> None:
    assert opened_by(prompt, ("<think>", "</think>")) == opened


@pytest.mark.parametrize("opened", ["", "<think>", "<think>\n", "<think>\n\n"])
@pytest.mark.parametrize("reasoning", ["A.", ""])
def test_a_response_never_opens_twice_and_is_read_as_written(opened: str, reasoning: str) -> None:
    form = ThinkFormat(opened=opened)
    text = "".join(mark + part for mark, part in form.pieces(reasoning, "B."))
    whole = opened + text
    assert whole.count("<think>") <= 1
    assert parts_of(form, text) == (reasoning, "B.")
    if reasoning or opened:
        between = whole.removeprefix("<think>").removesuffix("</think>\n\nB.")
        assert between.strip() == reasoning
        assert between.startswith("\n")
        assert between.endswith("\n")


def test_where_thinking_is_switched_off_there_is_no_place_for_it() -> None:
    assert CLOSED.pieces("", "B.") == (("", "B."),)
    for form in (CLOSED, PLAIN):
        with pytest.raises(FormatError, match="no_place_in_format"):
            form.pieces("A.", "B.")
