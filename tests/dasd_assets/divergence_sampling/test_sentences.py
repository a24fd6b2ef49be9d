"""Sentences: every byte belongs to one, and rules for reasoning text hold."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dasd_assets.divergence_sampling.sentences import DEFAULT_SEGMENTER, response_sentences
from dasd_assets.response_filtering.student_format import THINK_CLOSE, THINK_OPEN, student_text

PIECES = st.sampled_from([*"aB1. \n`!?。！é😀$\\-\"')(", "```", "e.g. ", "```\n"])
TEXTS = st.lists(PIECES, max_size=40).map("".join)


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in DEFAULT_SEGMENTER.spans(text)]


@given(TEXTS)
def test_spans_are_contiguous_and_lose_nothing(text: str) -> None:
    spans = DEFAULT_SEGMENTER.spans(text)
    assert all(start < end for start, end in spans)
    assert all(left[1] == right[0] for left, right in pairwise(spans))
    assert "".join(cut(text)) == text


@pytest.mark.parametrize(
    "sentences",
    [
        ["We add 3.14 and 2.5. ", "Then we stop! ", "Is it right? ", "Yes."],
        ["See e.g. Newton, i.e. Sir Isaac. ", "Dr. Smith agrees."],
        ["First line\n", "- a list item\n", "- Another. ", "Two in one.\n\n", "The end"],
        ["So \\(x = 2\\). ", "$y = 3$ follows. ", "\\boxed{5}"],
        ['He said "No." ', "Then he left."],
        ["我们相加。", "得到五！", "对吗？", "对"],
        ["对吗？\n\n", "对。 ", "好"],
        ["Now the code.\n\n", "```py\nx = 1\n\ny = 2. Z = 3\n```\n", "Then done. ", "Really."],
        ["Code:\n", "```\nleft open\n\nto the end. Of it"],
        ["wait... and no new start. still the same"],
    ],
)
def test_rules(sentences: list[str]) -> None:
    assert cut("".join(sentences)) == sentences


def test_no_text_has_no_sentence() -> None:
    assert DEFAULT_SEGMENTER.spans("") == []


def test_time_grows_with_the_length_not_its_square() -> None:
    sentence = "We add the two numbers and carry the one. "

    def seconds(n: int) -> float:
        started = time.perf_counter()
        assert len(DEFAULT_SEGMENTER.spans(sentence * n)) == n
        return time.perf_counter() - started

    few = min(seconds(1_000) for _ in range(3))
    # Eight times the text: eight times the time, against 64 times if it were quadratic.
    assert min(seconds(8_000) for _ in range(3)) < 30 * few


@given(TEXTS, TEXTS)
def test_byte_spans_cover_both_parts_and_no_template(reasoning: str, answer: str) -> None:
    text = student_text(reasoning, answer).encode()
    sentences = response_sentences(reasoning, answer, DEFAULT_SEGMENTER)
    for part, expected in (("reasoning", reasoning), ("answer", answer)):
        of_part = [s for s in sentences if s.part == part]
        assert b"".join(text[s.start_byte : s.end_byte] for s in of_part) == expected.encode()
        assert all(a.end_byte == b.start_byte for a, b in pairwise(of_part))
    covered = sum(s.end_byte - s.start_byte for s in sentences)
    assert len(text) - covered == len(THINK_OPEN + THINK_CLOSE)
