"""Harmony: channels by the library, tokens placed byte by byte in the student's text."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from dasd_assets.profile import PROJECT_ROOT
from formats.harmony import HarmonyAnswer, HarmonyError, parse_harmony
from formats.student_text import student_text
from formats.token_bytes import TokenBytes

ANALYSIS = "<|channel|>analysis<|message|>"
FINAL = "<|start|>assistant<|channel|>final<|message|>"


@cache
def teacher() -> tuple[Any, TokenBytes]:
    tokenizer = AutoTokenizer.from_pretrained(PROJECT_ROOT / "tiny_world" / "models" / "teacher")
    return tokenizer, TokenBytes(tokenizer)


def parse(wire: str) -> tuple[HarmonyAnswer, np.ndarray]:
    tokenizer, token_bytes = teacher()
    ids = np.asarray(tokenizer.encode(wire, add_special_tokens=False), np.int32)
    return parse_harmony(ids, wire, token_bytes), ids


def test_analysis_and_final() -> None:
    answer, _ = parse(f"{ANALYSIS}Ones: 1 + 2 = 3.<|end|>{FINAL}It is 3.<|return|>")
    assert (answer.reasoning, answer.answer) == ("Ones: 1 + 2 = 3.", "It is 3.")
    assert answer.tool_call is None


def test_several_analysis_segments_are_paragraphs() -> None:
    wire = f"{ANALYSIS}First.<|end|><|start|>assistant{ANALYSIS} Second.\n<|end|>{FINAL}A<|return|>"
    assert parse(wire)[0].reasoning == "First.\n\nSecond."


def test_a_tool_call_is_named() -> None:
    call = "<|start|>assistant<|channel|>commentary to=functions.calc <|constrain|>json<|message|>"
    answer, _ = parse(f"{ANALYSIS}Use it.<|end|>{call}" + '{"x": 1}<|call|>')
    assert answer.tool_call == "functions.calc"
    assert answer.answer == ""


@pytest.mark.parametrize(
    ("wire", "reasoning"),
    [
        (f"{ANALYSIS}Cut off in the mid", "Cut off in the mid"),
        (f"{ANALYSIS}Never answered.<|end|>", "Never answered."),
    ],
)
def test_an_answer_without_final_channel(wire: str, reasoning: str) -> None:
    answer, _ = parse(wire)
    assert (answer.reasoning, answer.answer) == (reasoning, "")


def test_tokens_that_do_not_spell_the_text_are_an_error() -> None:
    tokenizer, token_bytes = teacher()
    wire = f"{ANALYSIS}One.<|end|>{FINAL}Two.<|return|>"
    other = f"{ANALYSIS}One!<|end|>{FINAL}Two.<|return|>"
    ids = np.asarray(tokenizer.encode(other, add_special_tokens=False), np.int32)
    with pytest.raises(HarmonyError) as raised:
        parse_harmony(ids, wire, token_bytes)
    assert raised.value.rule == "token_text_mismatch"
    assert "One!" in raised.value.evidence


@pytest.mark.parametrize(
    "wire", ["", "no channel", "<|channel|>analysis", f"{ANALYSIS}a<|end|><|start|>assistant"]
)
def test_text_that_is_no_harmony_is_malformed(wire: str) -> None:
    with pytest.raises(HarmonyError) as raised:
        parse(wire)
    assert raised.value.rule == "malformed_harmony"
    assert raised.value.evidence


@pytest.mark.parametrize("tokens_of", ["", "One.", f"{ANALYSIS}One.<|return|>"])
def test_tokens_with_other_messages_than_the_text_are_an_error(tokens_of: str) -> None:
    tokenizer, token_bytes = teacher()
    ids = np.asarray(tokenizer.encode(tokens_of, add_special_tokens=False), np.int32)
    with pytest.raises(HarmonyError, match="token_text_mismatch: 2 messages"):
        parse_harmony(ids, f"{ANALYSIS}One.<|end|>{FINAL}Two.<|return|>", token_bytes)


def test_starts_across_segments_template_and_multibyte_characters() -> None:
    answer, ids = parse(
        f"{ANALYSIS}\n é一 <|end|><|start|>assistant{ANALYSIS} b\n<|end|>{FINAL} 😀.<|return|>"
    )
    text = student_text("é一\n\nb", "😀.").encode()
    assert (answer.reasoning, answer.answer) == ("é一\n\nb", "😀.")
    _, token_bytes = teacher()
    spelled = bytearray(b" " * len(text))
    for token, start in zip(ids, answer.token_starts, strict=True):
        piece = token_bytes.decode(np.array([token])).strip()
        if start >= 0 and piece:
            spelled[start : start + len(piece)] = piece
    expected = text.replace(b"<think>", b" " * 7).replace(b"</think>", b" " * 8)
    assert spelled == expected.replace(b"\n", b" ")


# No special token's text, and no half of one.
PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<|>"), max_size=40)


@settings(deadline=None, max_examples=150)
@given(reasoning=PLAIN, answer=PLAIN)
def test_each_token_starts_where_its_first_nonspace_byte_is(reasoning: str, answer: str) -> None:
    parsed, ids = parse(f"{ANALYSIS}{reasoning}<|end|>{FINAL}{answer}<|return|>")
    assert (parsed.reasoning, parsed.answer) == (reasoning.strip(), answer.strip())
    text = student_text(parsed.reasoning, parsed.answer).encode()
    _, token_bytes = teacher()
    placed = parsed.token_starts >= 0
    assert not (placed & token_bytes.is_special[ids]).any()
    starts = parsed.token_starts[placed]
    assert (np.diff(starts) >= 0).all()
    for token, start in zip(ids[placed], starts, strict=True):
        piece = token_bytes.decode(np.array([token]))
        content = piece.strip(b" \t\n\r\x0b\x0c")
        if content:
            assert text[start : start + 1] == content[:1]
    # Every byte that is no ASCII white space belongs to a placed token.
    spelled = token_bytes.decode(ids[placed])
    assert spelled.split() == (parsed.reasoning + " " + parsed.answer).encode().split() or (
        b"".join(spelled.split()) == b"".join((parsed.reasoning + parsed.answer).encode().split())
    )
