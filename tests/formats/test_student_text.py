"""The canonical text of a response, there and back."""

from __future__ import annotations

import pytest

from formats.student_text import part_spans, response_parts, student_text


@pytest.mark.parametrize(
    ("reasoning", "answer", "text"),
    [
        ("Ones: 1.", "It is 1.", "<think>\nOnes: 1.\n</think>\n\nIt is 1."),
        ("", "It is 1.", "It is 1."),
        ("é一", "😀", "<think>\né一\n</think>\n\n😀"),
        ("unfinished", "", "<think>\nunfinished\n</think>\n\n"),
    ],
)
def test_there_and_back(reasoning: str, answer: str, text: str) -> None:
    assert student_text(reasoning, answer) == text
    assert response_parts(text) == (reasoning, answer)
    encoded = text.encode()
    parts = [encoded[begin:end].decode() for begin, end in part_spans(reasoning, answer)]
    assert parts == [reasoning, answer]
