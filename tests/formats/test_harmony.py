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
from formats import harmony
from formats.answer_format import AnswerParts, FormatError
from formats.harmony import HarmonyFormat
from formats.student_text import student_text
from formats.token_bytes import TokenBytes

ANALYSIS = "<|channel|>analysis<|message|>"
FINAL = "<|start|>assistant<|channel|>final<|message|>"


@cache
def teacher() -> tuple[Any, TokenBytes]:
    tokenizer = AutoTokenizer.from_pretrained(PROJECT_ROOT / "tiny_world" / "models" / "teacher")
    return tokenizer, TokenBytes(tokenizer)


def parse(wire: str) -> tuple[AnswerParts, np.ndarray]:
    tokenizer, token_bytes = teacher()
    ids = np.asarray(tokenizer.encode(wire, add_special_tokens=False), np.int32)
    return HarmonyFormat().parse(ids, token_bytes, wire), ids


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
    with pytest.raises(FormatError) as raised:
        HarmonyFormat().parse(ids, token_bytes, wire)
    assert raised.value.rule == "token_text_mismatch"
    assert "One!" in raised.value.evidence


@pytest.mark.parametrize(
    "wire", ["", "no channel", "<|channel|>analysis", f"{ANALYSIS}a<|end|><|start|>assistant"]
)
def test_text_that_is_no_harmony_is_malformed(wire: str) -> None:
    with pytest.raises(FormatError) as raised:
        parse(wire)
    assert raised.value.rule == "malformed_answer"
    assert raised.value.evidence


@pytest.mark.parametrize("tokens_of", ["", "One.", f"{ANALYSIS}One.<|return|>"])
def test_tokens_with_other_messages_than_the_text_are_an_error(tokens_of: str) -> None:
    tokenizer, token_bytes = teacher()
    ids = np.asarray(tokenizer.encode(tokens_of, add_special_tokens=False), np.int32)
    with pytest.raises(FormatError, match="token_text_mismatch: 2 messages"):
        HarmonyFormat().parse(ids, token_bytes, f"{ANALYSIS}One.<|end|>{FINAL}Two.<|return|>")


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


PREAMBLE = "<|start|>assistant<|channel|>commentary<|message|>"
USER = "<|start|>user<|message|>And 2 + 2?<|end|><|start|>assistant"


@pytest.mark.parametrize(
    ("wire", "evidence"),
    [
        (f"{ANALYSIS}a<|end|>{FINAL}It is 3.<|end|>{USER}<|channel|>final<|message|>4<|return|>",
         "a message of role user: 'And 2"),
        (f"{ANALYSIS}a<|end|>{PREAMBLE}I will add.<|end|>{FINAL}3<|return|>",
         "on channel commentary: 'I will add.'"),
        (f"{ANALYSIS}a<|end|>{FINAL}3<|end|><|start|>assistant{ANALYSIS}Or 4?<|return|>",
         "analysis behind the final channel: 'Or 4"),
        (f"{ANALYSIS}a<|end|>{FINAL}3<|return|>More.",
         r"text behind <\|return\|>: 'More.'"),
        (f"{ANALYSIS}a<|end|>{FINAL}3<|return|>{FINAL}4<|return|>", r"text behind <\|return\|>"),
    ],
)  # fmt: skip
def test_nothing_that_was_written_vanishes(wire: str, evidence: str) -> None:
    with pytest.raises(FormatError, match=f"malformed_answer: .*{evidence}"):
        parse(wire)


def test_a_final_answer_of_a_content_type_is_no_tool_call() -> None:
    final = "<|start|>assistant<|channel|>final <|constrain|>json<|message|>"
    answer, _ = parse(f'{ANALYSIS}a<|end|>{final}{{"answer": 3}}<|return|>')
    assert (answer.answer, answer.tool_call) == ('{"answer": 3}', None)


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        (f"{ANALYSIS}We ad", "We ad", None),
        (f"{ANALYSIS}We add \n", "We add \n", None),
        ("<|channel|>ana", "", None),
        ("", "", None),
        (f"{ANALYSIS}We add.<|end|>", "We add.", ""),
        (f"{ANALYSIS}We add.<|end|><|start|>assistant<|channel|>", "We add.", ""),
        (f"{ANALYSIS}We add.<|end|>{FINAL}", "We add.", ""),
        (f"{ANALYSIS}We add.<|end|>{FINAL}It is ", "We add.", "It is "),
        ("<|channel|>final<|message|>It ", "", "It "),
    ],
)
def test_a_text_cut_anywhere(text: str, reasoning: str, answer: str | None) -> None:
    assert HarmonyFormat().begun(text) == (reasoning, answer)


CONTENT = st.lists(
    st.sampled_from(
        ["It is 3.", "\n\n", " ", "é日😀", "x < y", "<", "|", "<|", "|>", "<|x|>", "\x00"]
    )
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    max_size=4,
).map("".join)
MESSAGE = st.tuples(st.sampled_from([ANALYSIS, FINAL.removeprefix("<|start|>assistant")]), CONTENT)
ENDS = st.sampled_from(["", "<|end|>", "<|return|>", "<|call|>", "<|end|><|start|>assistant", " "])


def as_read(function: Any, *arguments: str) -> Any:
    try:
        return function(*arguments)
    except FormatError as error:
        return error.rule


def test_the_walk_reads_what_the_library_reads() -> None:
    walked = []

    @settings(deadline=None, max_examples=400, derandomize=True, database=None)
    @given(st.lists(MESSAGE, min_size=1, max_size=3), ENDS)
    def holds(messages: list[tuple[str, str]], end: str) -> None:
        wire = "<|end|><|start|>assistant".join(map("".join, messages)) + end
        by_walk, parsed = harmony._walked(wire), as_read(harmony._parsed, wire, "", "")
        assert by_walk is None or by_walk == parsed
        walked.append(by_walk is not None)

    holds()
    assert sum(walked) > 100


@pytest.mark.parametrize(
    ("begun", "more"),
    [
        ("First", f" and then.<|end|>{FINAL}3<|return|>"),
        ("First", ""),
        ("", f"<|end|>{FINAL}3<|return|>"),
        ("a <", f"|end|>{FINAL}3<|return|>"),  # text, though it spells a mark together
        ("a <|end|>", f" b<|end|>{FINAL}3<|return|>"),
    ],
)
def test_what_was_begun_is_read_as_the_library_reads_it(begun: str, more: str) -> None:
    arguments = (more, ANALYSIS, begun)
    expected = as_read(harmony._parsed, *arguments)
    assert as_read(harmony._messages, *arguments) == expected
