"""Finished answers: joined in the student's format, filtered like the teacher's, then mixed."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from support.scripted_engine import encode, tokenizer, written

from dasd_assets.mixed_policy_distillation.mixed_sample import (
    Finished,
    finish_continuations,
    off_policy_choice,
)
from dasd_assets.mixed_policy_distillation.prefix import teacher_prefix
from dasd_assets.profile import load_profile
from resources.lake.tables.mixed_policy_distillation import (
    MIXED_POLICY_SAMPLE,
    REJECTED_CONTINUATIONS,
    TEACHER_CONTINUATIONS,
)

ANALYSIS = "<|channel|>analysis<|message|>"
FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"
IN_REASONING = "<think>\nWe add 1 and 2, naï"
IN_ANSWER = "<think>\nWe add.\n</think>\n\nIt is "
STUDENT, TEACHER = written("student"), written("teacher")
SYSTEM_PROMPT = "You are a helpful assistant."


def finish(
    kept: str, wire: str, finish_reason: str = "stop", discarded: str = "", **changes: Any
) -> Finished:
    prefix = teacher_prefix(kept, discarded, STUDENT.format, TEACHER.format)
    token_ids = encode("teacher", wire)
    row = {
        "continuation_id": "c", "rollout_id": "o", "response_id": "r", "question_id": "q",
        "domain": "math", "question": "What is 1 + 2?", "model": "m", "model_revision": "1",
        "engine": "e", "engine_version": "1", "logprobs_mode": "raw_logprobs", "temperature": 1.0,
        "top_p": 1.0, "max_tokens": 50, "seed": 0, "finish_reason": finish_reason,
        "token_ids": token_ids, "logprobs": [-1.0] * len(token_ids),
        "prefix_text": prefix.student_text,
        "cut_part": prefix.cut_part, "cut_fraction": 0.7, "cut_kind": "random", "text": wire,
        **changes,
    }  # fmt: skip
    finished = finish_continuations(
        pa.Table.from_pylist([row], schema=TEACHER_CONTINUATIONS),
        STUDENT,
        TEACHER,
        load_profile("tiny").response_filtering,
        SYSTEM_PROMPT,
    )
    assert finished.kept.schema.equals(MIXED_POLICY_SAMPLE)
    assert finished.rejected.schema.equals(REJECTED_CONTINUATIONS)
    assert finished.kept.num_rows + finished.rejected.num_rows == 1
    return finished


@pytest.mark.parametrize(
    ("kept", "wire", "text"),
    [
        (
            IN_REASONING,
            f"vely.{FINAL}It is 3.<|return|>",
            "<think>\nWe add 1 and 2, naïvely.\n</think>\n\nIt is 3.",
        ),
        # The space before the cut is the student's; it must not be lost.
        (IN_ANSWER, "3.<|return|>", "<think>\nWe add.\n</think>\n\nIt is 3."),
        ("<think>\nWe add.\n</th", "It is 3.<|return|>", "<think>\nWe add.\n</think>\n\nIt is 3."),
        # Blank lines at the cut, and the same text once more from the teacher.
        (
            "<think>\nWe add.\n\n",
            f"We add.{FINAL}It is 3.<|return|>",
            "<think>\nWe add.\n\nWe add.\n</think>\n\nIt is 3.",
        ),
        # Marks of Harmony that the student spells are text, here as for the teacher.
        (
            "<think>\nA <|end|> or <|return|> b",
            f" c.{FINAL}It is 3.<|return|>",
            "<think>\nA <|end|> or <|return|> b c.\n</think>\n\nIt is 3.",
        ),
        (
            "<think>\nA <|end|>\n</think>\n\nIt <|channel|>",
            " is 3.<|return|>",
            "<think>\nA <|end|>\n</think>\n\nIt <|channel|> is 3.",
        ),
    ],
)
def test_prefix_and_continuation_make_one_answer(kept: str, wire: str, text: str) -> None:
    discarded = "ink>" if kept.endswith("</th") else ""
    row = finish(kept, wire, discarded=discarded).kept.to_pylist()[0]
    assert (row["sample_id"], row["policy"]) == ("c", "mixed_policy")
    assert row["response_text"] == text
    prefix = text.encode()[: row["student_prefix_bytes"]].decode()
    assert prefix == teacher_prefix(kept, discarded, STUDENT.format, TEACHER.format).student_text
    ids = tokenizer("student").encode(text, add_special_tokens=False)
    assert row["n_student_tokens"] == len(ids) + 1


@pytest.mark.parametrize(
    ("kept", "wire", "finish_reason", "rules"),
    [
        (IN_REASONING, "vely and on and on", "length", ["hit_max_tokens", "no_final_answer"]),
        (IN_REASONING, "vely.<|return|>", "stop", ["no_final_answer"]),
        (IN_REASONING, "vely<|end|>stray text<|return|>", "stop", ["malformed_answer"]),
        (IN_REASONING, f"vely. {'So it is. ' * 18}{FINAL}3<|return|>", "stop",
         ["repeated_sentence", "repeated_ngram"]),
        ("<think>\nWe add.\n</think>\n\nIt is 3.", "<|return|>", "stop", ["nothing_continued"]),
        (IN_ANSWER, "", "context_exceeded", ["empty_completion"]),
        (IN_ANSWER, "3", "content_filter", ["stopped_by_server"]),
        (IN_ANSWER, "</think> 3<|return|>", "stop", ["template_mark_in_text"]),
        (IN_ANSWER, f"3<|end|><|start|>assistant{ANALYSIS}Or 4?{FINAL}4<|return|>", "stop",
         ["malformed_answer"]),
        (IN_REASONING, "ve<|end|><|start|>assistant<|channel|>commentary to=functions.run "
         "<|message|>{}<|call|>", "stop", ["no_final_answer", "tool_call"]),
    ],
)  # fmt: skip
def test_bad_answers_are_rejected_with_every_reason(
    kept: str, wire: str, finish_reason: str, rules: list[str]
) -> None:
    empty = {"token_ids": [], "logprobs": []} if finish_reason == "context_exceeded" else {}
    row = finish(kept, wire, finish_reason, **empty).rejected.to_pylist()[0]
    assert [broken["rule"] for broken in row["broken_rules"]] == rules
    assert all(broken["evidence"] for broken in row["broken_rules"])


@pytest.mark.parametrize("logprobs", [[-1.0], [-1.0, float("nan")], [-1.0, 0.5]])
def test_logprobs_are_held_to_the_rule_of_the_teachers_responses(logprobs: list[float]) -> None:
    row = finish(IN_ANSWER, "3.<|return|>", logprobs=logprobs).rejected.to_pylist()[0]
    assert [broken["rule"] for broken in row["broken_rules"]] == ["invalid_logprobs"]


def test_the_prefix_ends_where_the_teacher_ended_its_part() -> None:
    row = finish("<think>\nWe add. ", f"{FINAL}It is 3.<|return|>").kept.to_pylist()[0]
    assert row["response_text"] == "<think>\nWe add.\n</think>\n\nIt is 3."
    assert row["student_prefix_bytes"] == len("<think>\nWe add.")


def test_the_choice_of_other_questions_does_not_change_when_one_is_taken() -> None:
    names = pa.table({"response_id": ["a", "b", "c", "d"], "question_id": ["1", "2", "3", "4"]})
    before = off_policy_choice(names, pa.array([], pa.string()), 4, seed=0).to_pylist()
    taken = pa.array([names["question_id"][names["response_id"].to_pylist().index(before[0])]])
    assert off_policy_choice(names, taken.cast(pa.string()), 2, seed=0).to_pylist() == before[1:3]
