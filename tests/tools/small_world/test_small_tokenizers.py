"""What the small world's tokenizers add to the tiny one's: an option's letter is one token."""

from __future__ import annotations

import random
from itertools import islice

import pytest
from transformers import PreTrainedTokenizerFast

from tools.small_world.corpus import problem_stream, teacher_answer
from tools.small_world.tokenizers import train_student_tokenizer, train_teacher_tokenizer
from tools.tiny_world.drawing import Held


def _texts() -> list[str]:
    rng = random.Random(0)
    problems = islice(problem_stream("tokenizer-test", Held({})), 400)
    return [f"{p.question}\n{teacher_answer(p, rng)}" for p in problems]


@pytest.mark.parametrize("train", [train_teacher_tokenizer, train_student_tokenizer])
def test_an_options_letter_is_one_token(train: object) -> None:
    assert callable(train)
    tokenizer: PreTrainedTokenizerFast = train(_texts())
    text = "Which one is it? Neon (A), Sodium (B), 12 (C)"
    tokens = tokenizer.tokenize(text)
    assert [token for token in tokens if "(" in token] == ["Ġ(A)", "Ġ(B)", "Ġ(C)"]
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
