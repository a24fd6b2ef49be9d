"""Delivered answers: parts from the text, tokens placed in it, and what does not spell it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.small_tokenizer import build_tokenizer
from transformers import AutoTokenizer

from formats.delivered_text import DeliveredTextError, delivered_parts, delivered_tokens
from formats.harmony import HarmonyFormat
from formats.student_text import student_text
from formats.token_bytes import TokenBytes

REASONING, ANSWER = "We need 2 + 3.\nÜber 数学 🙂: 5.", "The sum is 5."
ANALYSIS, FINAL = "<|channel|>analysis<|message|>", "<|channel|>final<|message|>"
HARMONY = f"{ANALYSIS}{REASONING}<|end|><|start|>assistant{FINAL}{ANSWER}<|return|>"
TEACHER = Path(__file__).parents[2] / "tiny_world" / "models" / "teacher"


@pytest.fixture(scope="module")
def teacher() -> Any:
    return AutoTokenizer.from_pretrained(TEACHER)


def ids_of(tokenizer: Any, text: str) -> np.ndarray:
    return np.asarray(tokenizer.encode(text, add_special_tokens=False), np.int32)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (f"<think>\n{REASONING}\n</think>\n\n{ANSWER}", (REASONING, ANSWER)),
        (f"{REASONING}</think>{ANSWER}", (REASONING, ANSWER)),
        (HARMONY, (REASONING, ANSWER)),
        (f" {ANSWER}\n", ("", ANSWER)),
        (f"<think>{REASONING}", (REASONING, "")),
        ("", ("", "")),
    ],
)
def test_parts_come_from_the_marks(text: str, parts: tuple[str, str]) -> None:
    assert delivered_parts(text) == parts


def test_text_with_marks_in_other_places_than_harmony_is_refused() -> None:
    with pytest.raises(DeliveredTextError, match="stands where Harmony has none"):
        delivered_parts(f"{ANALYSIS}x<|start|>assistant{ANALYSIS}y")


@pytest.mark.parametrize(
    ("wire", "has_answer", "has_end"),
    [
        (HARMONY, True, True),
        (HARMONY.removeprefix(ANALYSIS), True, True),  # sampled behind an opened channel
        (HARMONY.removeprefix(ANALYSIS).removesuffix("<|return|>"), True, False),
        (REASONING, False, False),  # the reasoning alone
        (f"{REASONING}<|end|>", False, True),
        (f"<think>\n{REASONING}\n</think>\n\n{ANSWER}", True, False),
        (f"{REASONING}\n</think>\n\n{ANSWER}<|return|>", True, True),
        (f"{REASONING}{ANSWER}", True, False),  # special tokens were taken out
    ],
)
def test_every_known_way_of_writing_the_tokens_is_placed(
    teacher: Any, wire: str, has_answer: bool, has_end: bool
) -> None:
    token_bytes = TokenBytes(teacher)
    ids = ids_of(teacher, wire)
    placed = delivered_tokens(ids, REASONING, ANSWER, token_bytes)
    assert (placed.has_answer, placed.has_end) == (has_answer, has_end)
    text = student_text(REASONING, ANSWER).encode()
    for index, start in enumerate(placed.starts.tolist()):
        if start >= 0:
            first = token_bytes.decode(ids[[index]]).lstrip(b" \n")
            assert text[start:].startswith(first[: len(text) - start][:1])
    n_placed = int((placed.starts >= 0).sum())
    n_text = len(ids_of(teacher, REASONING)) + has_answer * len(ids_of(teacher, ANSWER))
    assert abs(n_placed - n_text) <= 2  # tokens across the marks


def test_whole_harmony_is_placed_as_the_filters_place_it(teacher: Any) -> None:
    token_bytes, ids = TokenBytes(teacher), ids_of(teacher, HARMONY)
    placed = delivered_tokens(ids, REASONING, ANSWER, token_bytes)
    assert (
        placed.starts.tolist()
        == HarmonyFormat().parse(ids, token_bytes, HARMONY).token_starts.tolist()
    )


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (REASONING.replace("2", "4"), "at byte 8 of its reasoning the text has '2 "),
        (f"{REASONING}</think>It is 6.", "at byte 0 of its answer .* the tokens spell 'It is 6.'"),
        (f"{REASONING}</think>{ANSWER} Or 6?", "behind the answer the tokens spell 'Or 6\\?'"),
        (REASONING[:5], "the tokens spell nothing more"),
        ("", "at byte 0 of its reasoning .* the tokens spell nothing more"),
    ],
)
def test_tokens_that_do_not_spell_the_text_are_told_with_the_byte(
    teacher: Any, wire: str, message: str
) -> None:
    with pytest.raises(DeliveredTextError, match=message):
        delivered_tokens(ids_of(teacher, wire), REASONING, ANSWER, TokenBytes(teacher))


def test_an_id_that_the_tokenizer_has_not_is_told() -> None:
    token_bytes = TokenBytes(build_tokenizer())
    with pytest.raises(DeliveredTextError, match="has no token 200002"):
        delivered_tokens(np.asarray([0, 200002], np.int32), "a", "b", token_bytes)


def test_an_answer_without_reasoning_is_placed(teacher: Any) -> None:
    placed = delivered_tokens(
        ids_of(teacher, f"<think></think>{ANSWER}"), "", ANSWER, TokenBytes(teacher)
    )
    assert placed.has_answer
    assert int((placed.starts >= 0).sum()) >= 3
