"""Cuts and prefixes: beyond half, in whole characters, in the teacher's own format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scripted_engine import ScriptedEngine, encode, written

from dasd_assets.mixed_policy_distillation.continuations import (
    ROLLOUT_COLUMNS,
    continue_rollouts,
    cut_position,
    cut_rollout,
    read_to_continue,
)
from formats.model_format import ModelFormat
from formats.think import ThinkFormat
from resources.lake.lake import Lake
from resources.lake.tables.mixed_policy_distillation import STUDENT_ROLLOUTS, TEACHER_CONTINUATIONS

ANALYSIS = "<|channel|>analysis<|message|>"
SAID = "d them. Ok<|return|>"
FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"


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


@pytest.mark.parametrize("text", ["<think>\nnaïve 数学 🙂🙃 x²", "<think>\nGröße 思考"])
def test_what_is_kept_is_a_prefix_in_whole_characters(text: str) -> None:
    ids = np.asarray(encode("student", text), np.int32)
    student, teacher = written("student"), written("teacher").format
    own = text.removeprefix("<think>\n")
    n_torn = 0
    for seed in range(50):
        cut = cut_rollout(ids, student, teacher, 0.1, seed)
        position = round(cut.fraction * len(ids))
        kept = cut.prefix.student_text.removeprefix("<think>\n")
        assert own.startswith(kept)
        assert cut.prefix.wire == ((ANALYSIS, kept),)
        torn = student.token_bytes.decode(ids[:position])
        n_torn += len(torn) != len(torn.decode(errors="ignore").encode())
    assert n_torn, "no cut lies inside a character, so the test shows nothing"


def scripted_teacher() -> Any:
    """A teacher that always says the same."""
    return ScriptedEngine("teacher", lambda request: (encode("teacher", SAID), "stop"))


def rollout(name: str, text: str, is_truncated: bool, *rules: str) -> dict[str, Any]:
    ids = encode("student", text)
    return {
        "rollout_id": name, "response_id": "r", "question_id": "q", "domain": "math",
        "question": "What is 1 + 2?", "model": "student", "model_revision": "1", "engine": "e",
        "engine_version": "1", "logprobs_mode": "raw_logprobs", "temperature": 1.0, "top_p": 1.0,
        "max_tokens": len(ids), "seed": 0, "finish_reason": "length" if is_truncated else "stop",
        "token_ids": ids, "logprobs": [-1.0] * len(ids), "n_teacher_response_tokens": 9,
        "is_truncated": is_truncated, "text": text,
        "broken_rules": [{"rule": rule, "evidence": "?"} for rule in rules],
    }  # fmt: skip


def continued(
    teacher: Any, folder: Path, *rollouts: dict[str, Any], min_cut_fraction: float = 0.5
) -> list[dict[str, Any]]:
    batches = continue_rollouts(
        pa.Table.from_pylist(list(rollouts), schema=STUDENT_ROLLOUTS), teacher,
        written("student"), min_cut_fraction=min_cut_fraction, temperature=1.0, max_tokens=50,
        system_prompt="s", reasoning_effort="low", seed=0, journal=folder / "journal",
    )  # fmt: skip
    rows: list[dict[str, Any]] = pa.Table.from_batches(
        list(batches), TEACHER_CONTINUATIONS
    ).to_pylist()
    return rows


def test_usable_truncated_rollouts_are_continued_from_exact_tokens(tmp_path: Path) -> None:
    text = "<think>\nWe add the ones first and then the tens, which gives the sum."
    rollouts = [
        rollout("a", text, True), rollout("b", text, False), rollout("c", "Hm", True),
        rollout("d", text, True, "invalid_logprobs"),
    ]  # fmt: skip
    teacher = scripted_teacher()
    rows = continued(teacher, tmp_path, *rollouts)
    assert [row["rollout_id"] for row in rows] == ["a", "c"]
    first = rows[0]
    assert 0.5 < first["cut_fraction"] < 1
    assert text.startswith(first["prefix_text"])
    assert len(text) // 3 < len(first["prefix_text"]) < len(text)
    assert first["text"] == SAID
    request = teacher.requests[0]
    assert request.max_tokens == 50
    wire = teacher.tokenizer.decode(request.prompt.token_ids + request.prefix_token_ids)
    reasoning = first["prefix_text"].removeprefix("<think>\n")
    assert wire.endswith(f"<|start|>assistant{ANALYSIS}{reasoning}")
    # A retry asks for nothing that the journal has, and gives the same rows.
    assert continued(teacher, tmp_path, *rollouts) == rows
    assert len(teacher.requests) == 2


def test_a_cut_in_the_answer_opens_the_final_channel(tmp_path: Path) -> None:
    answer = "It is 3, as one and two are three, whichever of them comes first or last."
    teacher = scripted_teacher()
    (row,) = continued(
        teacher, tmp_path, rollout("a", f"<think>\nAdd.\n</think>\n\n{answer}", True)
    )
    kept = row["prefix_text"].removeprefix("<think>\nAdd.\n</think>\n\n")
    assert row["cut_part"] == "answer"
    assert kept
    assert answer.startswith(kept)
    (request,) = teacher.requests
    wire = teacher.tokenizer.decode(request.prompt.token_ids + request.prefix_token_ids)
    assert wire.endswith(f"<|start|>assistant{ANALYSIS}Add.{FINAL}{kept}")


@pytest.mark.parametrize(
    ("written", "marks"),
    [
        ("<think>\nSo {} it is. Is it?", ANALYSIS),
        ("<think>\nA {}\n</think>\n\nIt is {} now. Is it?", ANALYSIS + FINAL),
    ],
)
def test_what_the_student_writes_is_text_to_the_teacher(
    tmp_path: Path, written: str, marks: str
) -> None:
    """A student that spells Harmony's marks must not end a channel or the answer."""
    spelled = "<|end|><|start|>assistant<|channel|>final<|message|>7<|return|>"
    text = written.format(spelled, spelled)
    teacher = scripted_teacher()
    (row,) = continued(teacher, tmp_path, rollout("a", text, True), min_cut_fraction=0.9)
    assert row["prefix_text"].count("<|return|>") == text.count("<|return|>")
    assert text.startswith(row["prefix_text"])
    (request,) = teacher.requests
    special = set(teacher.tokenizer.all_special_ids)
    seen = [token for token in request.prefix_token_ids if token in special]
    assert seen == [token for token in encode("teacher", marks) if token in special]
    # Nothing was left out or changed for it.
    plain = row["prefix_text"].removeprefix("<think>\n").replace("\n</think>\n\n", FINAL)
    assert teacher.tokenizer.decode(request.prefix_token_ids) == ANALYSIS + plain


def test_a_rollout_of_a_token_or_two_is_kept_whole(tmp_path: Path) -> None:
    (row,) = continued(scripted_teacher(), tmp_path, rollout("a", "<think>", True))
    assert (row["prefix_text"], row["cut_fraction"]) == ("<think>\n", 1.0)


def test_only_what_a_continuation_needs_is_read(tmp_path: Path) -> None:
    lake, shard = Lake(root=str(tmp_path)), {"question_shard": "s"}
    rows = [rollout("a", "Hm", True), rollout("b", "Hm", False), rollout("c", "Hm", True, "x")]
    lake.write("student_rollouts", pa.Table.from_pylist(rows, schema=STUDENT_ROLLOUTS), shard)
    found = read_to_continue(lake, shard)
    assert found.column_names == ROLLOUT_COLUMNS
    assert found["rollout_id"].to_pylist() == ["a"]
    lake.write("student_rollouts", STUDENT_ROLLOUTS.empty_table(), shard)
    assert read_to_continue(lake, shard).num_rows == 0


def test_a_rollout_that_thinks_has_no_place_with_a_plain_teacher(tmp_path: Path) -> None:
    teacher = scripted_teacher()
    teacher.format = ModelFormat(teacher.tokenizer, ThinkFormat(name="plain"))
    rollouts = [
        rollout("a", "<think>\nWe add the ones first and then the tens.", True),
        rollout("b", "It is 3, as one and two are three, first or last.", True),
    ]
    assert [row["rollout_id"] for row in continued(teacher, tmp_path, *rollouts)] == ["b"]
