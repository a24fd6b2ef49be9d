"""Filtering as a whole: every answer is kept or rejected, with the contracts' schemas."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from transformers import AutoTokenizer

from dasd_assets.profile import PROJECT_ROOT, load_profile
from dasd_assets.response_filtering import filtering
from dasd_assets.response_filtering.filtering import Filtered, filter_responses
from dasd_assets.response_filtering.funnel import funnel
from resources.contracts import FILTERED_RESPONSES, REJECTED_RESPONSES, TEACHER_RESPONSES

MODELS = PROJECT_ROOT / "tiny_world" / "models"
ANALYSIS = "<|channel|>analysis<|message|>"
FINAL = "<|start|>assistant<|channel|>final<|message|>"


@pytest.fixture(scope="module")
def tokenizers() -> tuple[Any, Any]:
    return (
        AutoTokenizer.from_pretrained(MODELS / "teacher"),
        AutoTokenizer.from_pretrained(MODELS / "student"),
    )


def run(
    tokenizers: tuple[Any, Any],
    *wires: str,
    references: dict[str, str] | None = None,
    columns: dict[str, Any] | None = None,
    **settings: Any,
) -> Filtered:
    rows = []
    for index, wire in enumerate(wires):
        ids = tokenizers[0].encode(wire, add_special_tokens=False)
        rows.append(
            {
                "response_id": f"r{index}", "question_id": "q", "domain": "math",
                "question": "What is 1 + 2?", "sample_index": index, "system_prompt": "s",
                "reasoning_effort": "high", "model": "m", "model_revision": "1", "engine": "e",
                "engine_version": "1", "logprobs_mode": "raw_logprobs", "temperature": 1.0,
                "top_p": 1.0, "max_tokens": 99, "seed": 0, "token_ids": ids,
                "finish_reason": "stop" if wire.endswith("<|return|>") else "length",
                "logprobs": -np.ones(len(ids), np.float32), "text": wire,
                **(columns or {}),
            }
        )  # fmt: skip
    filtered = filter_responses(
        pa.Table.from_pylist(rows, schema=TEACHER_RESPONSES),
        teacher_tokenizer=tokenizers[0],
        student_tokenizer=tokenizers[1],
        settings=load_profile("tiny").response_filtering.model_copy(update=settings),
        system_prompt="You are a helpful assistant.",
        references={"q": json.dumps("3")} if references is None else references,
    )
    assert filtered.kept.schema.equals(FILTERED_RESPONSES)
    assert filtered.rejected.schema.equals(REJECTED_RESPONSES)
    assert filtered.kept.num_rows + filtered.rejected.num_rows == len(wires)
    return filtered


def rules(filtered: Filtered) -> list[list[str]]:
    return [
        [broken["rule"] for broken in row] for row in filtered.rejected["broken_rules"].to_pylist()
    ]


GOOD = f"{ANALYSIS}Ones: 1 + 2 = 3.<|end|>{FINAL}The answer is \\boxed{{3}}.<|return|>"
WRONG = GOOD.replace("{3}", "{4}")


def test_kept_and_rejected(tokenizers: tuple[Any, Any]) -> None:
    filtered = run(tokenizers, GOOD, f"{ANALYSIS}Cut off", "no channel at all<|return|>")
    (kept,) = filtered.kept.to_pylist()
    assert kept["response_text"] == (
        "<think>\nOnes: 1 + 2 = 3.\n</think>\n\nThe answer is \\boxed{3}."
    )
    assert len(kept["teacher_token_starts"]) == len(kept["teacher_logprobs"])
    first, second = rules(filtered)
    assert first == ["hit_max_tokens", "no_final_answer"]
    assert second[0] in ("malformed_harmony", "token_text_mismatch")
    counts = funnel({"low": (filtered.kept, filtered.rejected)})
    assert counts["low"]["math"]["kept"] == 1
    assert counts["low"]["math"]["hit_max_tokens"] == 1


NAN = float("nan")


@pytest.mark.parametrize(
    ("wire", "columns", "broken"),
    [
        (GOOD, {"logprobs": []}, ["invalid_logprobs"]),
        (GOOD, {"logprobs": [-1.0, -1.0]}, ["invalid_logprobs"]),
        (GOOD, {"logprobs": [NAN] * 200}, ["invalid_logprobs"]),
        (GOOD, {"finish_reason": "content_filter"}, ["stopped_by_server"]),
        (GOOD, {"finish_reason": "tool_calls"}, ["stopped_by_server"]),
        ("", {"finish_reason": "stop"}, ["malformed_harmony", "empty_completion"]),
        ("", {"finish_reason": "context_exceeded"}, ["malformed_harmony", "empty_completion"]),
        (f"{ANALYSIS}It goes on and on<|return|>", {}, ["no_final_answer"]),
        (f"{ANALYSIS}It goes on and on", {"finish_reason": "stop"}, ["no_final_answer"]),
    ],
)
def test_what_an_engine_could_not_deliver_reaches_the_funnel_and_the_others_are_kept(
    tokenizers: tuple[Any, Any], wire: str, columns: dict[str, Any], broken: list[str]
) -> None:
    filtered = run(tokenizers, wire, columns=columns)
    assert rules(filtered) == [broken]
    kept = pa.concat_tables([filtered.kept, run(tokenizers, GOOD).kept])
    assert funnel({"low": (kept, filtered.rejected)}) == {
        "low": {"math": {"sampled": 2, "kept": 1, **dict.fromkeys(broken, 1)}}
    }


def test_a_wrong_answer_is_rejected_only_where_the_domain_is_verified(
    tokenizers: tuple[Any, Any],
) -> None:
    assert run(tokenizers, GOOD, WRONG).kept.num_rows == 2
    verified = run(tokenizers, GOOD, WRONG, verify_domains=["math"])
    assert verified.kept["response_id"].to_pylist() == ["r0"]
    assert rules(verified) == [["incorrect_answer"]]


def test_a_wrong_answer_is_reported_beside_the_other_rules_that_it_breaks(
    tokenizers: tuple[Any, Any],
) -> None:
    filtered = run(tokenizers, WRONG, verify_domains=["math"], max_student_tokens=2)
    assert rules(filtered) == [["too_long", "incorrect_answer"]]


@pytest.mark.parametrize(
    ("references", "evidence"),
    [({}, "the question has no reference"), ({"q": '""'}, "math reference must be a number")],
)
def test_an_answer_that_nothing_can_verify_is_rejected_and_fails_no_partition(
    tokenizers: tuple[Any, Any], references: dict[str, str], evidence: str
) -> None:
    filtered = run(tokenizers, GOOD, references=references, verify_domains=["math"])
    ((broken,),) = filtered.rejected["broken_rules"].to_pylist()
    assert broken["rule"] == "unverifiable_answer"
    assert evidence in broken["evidence"]


def test_batches_change_nothing(
    tokenizers: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    wires = [GOOD, f"{ANALYSIS}Cut off", WRONG, "no channel<|return|>", GOOD]
    whole = run(tokenizers, *wires)
    monkeypatch.setattr(filtering, "ROWS_PER_BATCH", 2)
    batched = run(tokenizers, *wires)
    assert batched.kept.equals(whole.kept)
    assert batched.rejected.equals(whole.rejected)
    assert whole.kept["response_id"].to_pylist() == ["r0", "r2", "r4"]
    starts, logprobs = (whole.kept[f"teacher_{name}"] for name in ("token_starts", "logprobs"))
    assert [len(row) for row in starts.to_pylist()] == [len(row) for row in logprobs.to_pylist()]


def test_length_counts_prompt_and_response_under_the_students_tokenizer(
    tokenizers: tuple[Any, Any],
) -> None:
    n = run(tokenizers, GOOD).kept["n_student_tokens"].to_pylist()[0]
    assert rules(run(tokenizers, GOOD, max_student_tokens=n)) == [["too_long"]]


def test_no_answers_at_all(tokenizers: tuple[Any, Any]) -> None:
    assert run(tokenizers).kept.num_rows == 0


def test_an_answer_with_several_faults_is_rejected_with_all_of_them(
    tokenizers: tuple[Any, Any],
) -> None:
    call = "<|start|>assistant<|channel|>commentary to=functions.f<|message|>{}"
    loop = "Again and again it says the same. " * 40
    filtered = run(tokenizers, "", GOOD, f"{ANALYSIS}{loop}<|end|>{call}", max_student_tokens=40)
    first, *_, last = rules(filtered)
    assert first == ["malformed_harmony", "empty_completion", "hit_max_tokens", "too_long"]
    assert last == [
        "hit_max_tokens", "no_final_answer", "tool_call", "too_long", "repeated_sentence",
        "repeated_ngram",
    ]  # fmt: skip
    assert all(
        broken["evidence"]
        for row in filtered.rejected["broken_rules"].to_pylist()
        for broken in row
    )


def test_token_starts_lead_back_to_the_text_of_each_token(tokenizers: tuple[Any, Any]) -> None:
    (kept,) = run(tokenizers, GOOD).kept.to_pylist()
    ids = tokenizers[0].encode(GOOD, add_special_tokens=False)
    text = kept["response_text"].encode()
    placed = [(i, s) for i, s in zip(ids, kept["teacher_token_starts"], strict=True) if s >= 0]
    pieces = [tokenizers[0].decode([i]).strip().encode() for i, _ in placed]
    assert [text[s : s + len(p)] for (_, s), p in zip(placed, pieces, strict=True)] == pieces
    assert b"".join(pieces) == b"Ones:1+2=3.Theansweris\\boxed{3}."
