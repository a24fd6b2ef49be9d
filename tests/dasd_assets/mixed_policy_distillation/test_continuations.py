"""Cuts and prefixes: beyond half, in whole characters, in the teacher's own format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from dasd_assets.mixed_policy_distillation.continuations import (
    continue_rollouts,
    cut_position,
    kept_text,
    teacher_prefix,
)
from dasd_assets.profile import PROJECT_ROOT
from resources.contracts import STUDENT_ROLLOUTS, TEACHER_CONTINUATIONS
from resources.engines.byte_offsets import TokenBytes
from resources.engines.prompts import render_chat
from resources.engines.protocol import Completion, GenerationRequest, ModelIdentity, Prompt

ANALYSIS = "<|channel|>analysis<|message|>"
FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"


@cache
def tokenizer(name: str) -> Any:
    return AutoTokenizer.from_pretrained(PROJECT_ROOT / "tiny_world" / "models" / name)


@given(st.integers(0, 500), st.floats(0, 1), st.integers(0, 2**63 - 1))
def test_the_cut_lies_beyond_the_share_and_before_the_end(
    n_tokens: int, min_fraction: float, seed: int
) -> None:
    position = cut_position(n_tokens, min_fraction, seed)
    assert position == cut_position(n_tokens, min_fraction, seed)
    if int(min_fraction * n_tokens) + 1 < n_tokens:
        assert min_fraction * n_tokens < position < n_tokens
    else:
        assert position == n_tokens


def test_every_allowed_position_is_drawn() -> None:
    assert {cut_position(10, 0.5, seed) for seed in range(200)} == {6, 7, 8, 9}


@pytest.mark.parametrize("text", ["naïve 数学 🙂🙃 x²", "<think>\nGröße 思考"])
def test_kept_text_is_a_prefix_in_whole_characters(text: str) -> None:
    student = tokenizer("student")
    ids = np.asarray(student.encode(text, add_special_tokens=False))
    token_bytes = TokenBytes(student)
    kept = [kept_text(token_bytes, ids[:n]) for n in range(len(ids) + 1)]
    assert all(text.startswith(part) and "\ufffd" not in part for part in kept)
    assert kept[-1] == text
    # Some cut lies inside a character, or the test shows nothing.
    assert any(len(part.encode()) < len(token_bytes.decode(ids[:n])) for n, part in enumerate(kept))


@pytest.mark.parametrize(
    ("kept", "student", "wire", "part"),
    [
        ("<think>\nWe ad", "<think>\nWe ad", f"{ANALYSIS}We ad", "reasoning"),
        ("<think>\nx < ", "<think>\nx < ", f"{ANALYSIS}x < ", "reasoning"),
        ("<think>We ad", "<think>\nWe ad", f"{ANALYSIS}We ad", "reasoning"),
        # A template may open the thinking part in the prompt: the rollout starts with reasoning.
        ("We ad", "<think>\nWe ad", f"{ANALYSIS}We ad", "reasoning"),
        ("<think>\nSum.\n</thi", "<think>\nSum.\n</think>\n\n", f"{ANALYSIS}Sum.{FINAL}", "answer"),
        (
            "<think>\nSum.\n</think>",
            "<think>\nSum.\n</think>\n\n",
            f"{ANALYSIS}Sum.{FINAL}",
            "answer",
        ),
        (
            "<think>\nSum.\n</think>\n\nIt is ",
            "<think>\nSum.\n</think>\n\nIt is ",
            f"{ANALYSIS}Sum.{FINAL}It is ",
            "answer",
        ),
    ],
)
def test_prefix_in_both_formats(kept: str, student: str, wire: str, part: str) -> None:
    prefix = teacher_prefix(kept)
    assert (prefix.student_text, prefix.wire_text, prefix.cut_part) == (student, wire, part)


class ScriptedTeacher:
    """An engine that renders with the real teacher tokenizer and always says the same."""

    identity = ModelIdentity("teacher", "1", "scripted", "1")

    def __init__(self) -> None:
        self.tokenizer = tokenizer("teacher")
        self.requests: list[GenerationRequest] = []

    def render(self, messages: list[dict[str, str]], **settings: Any) -> Prompt:
        return render_chat(self.tokenizer, messages, settings)

    def check(self, request: GenerationRequest) -> str | None:
        return None

    def generate(
        self, requests: Sequence[GenerationRequest], on_progress: Any = None
    ) -> Iterator[Completion]:
        self.requests += requests
        ids = np.asarray(
            self.tokenizer.encode("d them. Ok<|return|>", add_special_tokens=False), np.int32
        )
        for request in requests:
            yield Completion(
                request.key(self.identity), ids, np.full(len(ids), -0.5, np.float32), "stop"
            )


def rollout(name: str, text: str, is_truncated: bool) -> dict[str, Any]:
    ids = tokenizer("student").encode(text, add_special_tokens=False)
    return {
        "rollout_id": name, "response_id": "r", "question_id": "q", "domain": "math",
        "question": "What is 1 + 2?", "model": "student", "model_revision": "1", "engine": "e",
        "engine_version": "1", "logprobs_mode": "raw_logprobs", "temperature": 1.0, "top_p": 1.0,
        "max_tokens": len(ids), "seed": 0, "finish_reason": "length" if is_truncated else "stop",
        "token_ids": ids, "logprobs": [-1.0] * len(ids), "n_teacher_response_tokens": 9,
        "is_truncated": is_truncated, "text": text,
    }  # fmt: skip


def test_truncated_rollouts_are_continued_from_exact_tokens(tmp_path: Path) -> None:
    text = "<think>\nWe add the ones first and then the tens, which gives the sum."
    rollouts = pa.Table.from_pylist(
        [rollout("a", text, True), rollout("b", text, False), rollout("c", "Hm", True)],
        schema=STUDENT_ROLLOUTS,
    )
    teacher: Any = ScriptedTeacher()

    def run() -> pa.Table:
        rows = continue_rollouts(
            rollouts, teacher, tokenizer("student"), min_cut_fraction=0.5, temperature=1.0,
            max_tokens=50, system_prompt="s", reasoning_effort="low", seed=0,
            journal=tmp_path / "journal",
        )  # fmt: skip
        return pa.Table.from_batches(list(rows), TEACHER_CONTINUATIONS)

    table = run()
    assert table["rollout_id"].to_pylist() == ["a", "c"]
    first = table.to_pylist()[0]
    assert 0.5 < first["cut_fraction"] < 1
    assert text.startswith(first["prefix_text"])
    assert len(text) // 3 < len(first["prefix_text"]) < len(text)
    assert first["text"] == "d them. Ok<|return|>"
    request = teacher.requests[0]
    assert request.max_tokens == 50
    wire = teacher.tokenizer.decode(request.prompt.token_ids + request.prefix_token_ids)
    reasoning = first["prefix_text"].removeprefix("<think>\n")
    assert wire.endswith(f"<|start|>assistant{ANALYSIS}{reasoning}")
    # A retry asks for nothing that the journal has, and gives the same rows.
    assert run().equals(table)
    assert len(teacher.requests) == 2
