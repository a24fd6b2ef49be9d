"""Tokenizers: exact round trips, bytes that add up, digits one by one, chat templates."""

from __future__ import annotations

import random
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from tools.tiny_world.corpus import asked, problem_stream, teacher_answer
from tools.tiny_world.drawing import Held
from tools.tiny_world.tokenizers import (
    HARMONY_TOKENS,
    train_student_tokenizer,
    train_teacher_tokenizer,
)


def _texts() -> list[str]:
    rng = random.Random(0)
    problems = islice(problem_stream("tokenizer-test", Held({})), 400)
    return [f"{p.question}\n{teacher_answer(p, rng)}" for p in problems]


TEACHER = train_teacher_tokenizer(_texts())
STUDENT = train_student_tokenizer(_texts())
both = pytest.mark.parametrize("tokenizer", [TEACHER, STUDENT], ids=["teacher", "student"])


@both
@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=60))
def test_round_trip_and_bytes_add_up(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text
    # Each token's byte-level spelling has one character per byte.
    n_bytes = sum(len(token) for token in tokenizer.convert_ids_to_tokens(ids))
    assert n_bytes == len(text.encode())
    assert set("".join(tokenizer.convert_ids_to_tokens(ids))) <= set(ByteLevel.alphabet())


@both
def test_digits_are_single_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = tokenizer.tokenize("x = 1234 + 56")
    digits = [token.lstrip("Ġ") for token in tokens if any(c.isdigit() for c in token)]
    assert digits == list("123456")


@both
def test_an_options_letter_is_one_token(tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = tokenizer.tokenize("Which one is it? Neon (A), Sodium (B), 12 (C)")
    assert [token for token in tokens if "(" in token] == ["Ġ(A)", "Ġ(B)", "Ġ(C)"]


def test_the_two_differ() -> None:
    assert len(TEACHER) != len(STUDENT)
    merged = set(TEACHER.get_vocab()) ^ set(STUDENT.get_vocab())
    assert len(merged) > 100


def test_harmony_template_and_special_tokens() -> None:
    prompt = TEACHER.apply_chat_template(asked("Hi?"), tokenize=False, add_generation_prompt=True)
    assert prompt == (
        "<|start|>system<|message|>You are a helpful assistant.\nReasoning: high<|end|>"
        "<|start|>user<|message|>Hi?<|end|><|start|>assistant"
    )
    low = TEACHER.apply_chat_template(asked("Hi?"), tokenize=False, reasoning_effort="low")
    assert "Reasoning: low" in low
    told = [*asked("Hi?"), {"role": "assistant", "thinking": "Hm.", "content": "Ho."}]
    assert TEACHER.apply_chat_template(told, tokenize=False).endswith(
        "<|start|>assistant<|channel|>analysis<|message|>Hm.<|end|>"
        "<|start|>assistant<|channel|>final<|message|>Ho.<|return|>"
    )
    assert set(HARMONY_TOKENS) <= set(TEACHER.all_special_tokens)
    assert TEACHER.eos_token == "<|return|>"


def test_qwen_template_and_think_tokens() -> None:
    prompt = STUDENT.apply_chat_template(asked("Hi?"), tokenize=False, add_generation_prompt=True)
    assert prompt == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\nHi?<|im_end|>\n<|im_start|>assistant\n"
    )
    ids = STUDENT("<think>a</think><|im_end|>", add_special_tokens=False)["input_ids"]
    assert len(ids) == 4
    assert STUDENT.decode(ids, skip_special_tokens=True) == "<think>a</think>"
    assert STUDENT.eos_token == "<|im_end|>"
