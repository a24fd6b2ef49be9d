"""What was said before a question is in every prompt, and goes with the rows to the training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.scripted_engine import ScriptedEngine, encode, tokenizer, written
from support.small_lake import filled

from dasd_assets.divergence_sampling.student_scoring import TEXT_COLUMNS, score_responses
from dasd_assets.mixed_policy_distillation.continuations import (
    ROLLOUT_COLUMNS,
    continue_rollouts,
)
from dasd_assets.mixed_policy_distillation.mixed_sample import OFF_POLICY_COLUMNS, off_policy_rows
from dasd_assets.mixed_policy_distillation.rollouts import QUESTION_COLUMNS, sample_rollouts
from dasd_assets.teacher_responses.sampling import sample_responses
from resources.engines.protocol import ScoringRequest
from training.rows import load_samples

SAID = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Is 2 even?"},
    {"role": "assistant", "content": "Yes."},
]
ROW = {
    "question_id": "q1", "response_id": "r1", "domain": "math", "question": "Why?",
    "earlier_messages": SAID, "n_student_tokens": 20,
    "response_text": "<think>\nHalves.\n</think>\n\nAs 2 = 1 + 1.",
    "reasoning": "Halves.", "answer": "As 2 = 1 + 1.",
}  # fmt: skip
PROMPT = {
    "student": "".join(
        f"<|im_start|>{role}\n{text}<|im_end|>\n"
        for role, text in (*((m["role"], m["content"]) for m in SAID), ("user", "Why?"))
    )
    + "<|im_start|>assistant\n",
    "teacher": "<|start|>system<|message|>Be kind.\nReasoning: low<|end|>"
    "<|start|>user<|message|>Is 2 even?<|end|>"
    "<|start|>assistant<|channel|>final<|message|>Yes.<|end|>"
    "<|start|>user<|message|>Why?<|end|><|start|>assistant",
}
TEACHER: dict[str, Any] = {"system_prompt": "Be brief.", "reasoning_effort": "low", "seed": 0}


def engine(name: str) -> ScriptedEngine:
    end = "<|return|>" if name == "teacher" else "<|im_end|>"
    return ScriptedEngine(name, lambda _: (encode(name, f"2{end}"), "stop"))


def asked(found: ScriptedEngine, rows: Any) -> None:
    """The engine was asked once, by the whole conversation; the row has what was said before."""
    (row,) = pa.Table.from_batches(list(rows)).to_pylist()
    assert row["earlier_messages"] == SAID
    (request,) = found.requests
    text = tokenizer(found.identity.model).decode(list(request.prompt.token_ids))
    assert text == PROMPT[found.identity.model]


def test_the_teacher_is_asked_in_the_conversation(tmp_path: Path) -> None:
    teacher = engine("teacher")
    rows = list(
        sample_responses(
            filled("questions", ROW), teacher, temperature_name="low", temperature=1.0,
            samples_per_question=1, top_p=1.0, max_tokens=9, journal=tmp_path / "journal",
            **TEACHER,
        )
    )  # fmt: skip
    asked(teacher, rows)
    assert rows[0]["system_prompt"].to_pylist() == ["Be kind."]


def test_the_student_is_asked_in_the_conversation(tmp_path: Path) -> None:
    student = engine("student")
    rows = sample_rollouts(
        filled("divergence_sample", ROW).select(QUESTION_COLUMNS), student, cap_ratio=1.5,
        temperature=1.0, system_prompt="Be brief.", seed=0, journal=tmp_path / "journal",
    )  # fmt: skip
    asked(student, rows)


def test_the_teacher_continues_in_the_conversation(tmp_path: Path) -> None:
    rollout = ROW | {
        "rollout_id": "o1", "is_truncated": True, "broken_rules": [],
        "token_ids": encode("student", "<think>\n1 + 1 is 2, and so"),
    }  # fmt: skip
    teacher = engine("teacher")
    rows = continue_rollouts(
        filled("student_rollouts", rollout).select(ROLLOUT_COLUMNS), teacher,
        written("student"), min_cut_fraction=0.5, temperature=1.0, max_tokens=9,
        journal=tmp_path / "journal", **TEACHER,
    )  # fmt: skip
    asked(teacher, rows)


def test_the_student_scores_in_the_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    class StopError(Exception):
        pass

    scored: list[ScoringRequest] = []

    def score(requests: Any, *_: Any) -> Any:
        scored.extend(requests)
        raise StopError

    student = engine("student")
    monkeypatch.setattr(student, "score", score, raising=False)
    filtered = filled("filtered_responses", ROW).select(TEXT_COLUMNS)
    with pytest.raises(StopError):
        list(score_responses(filtered.to_batches(), 1, student, "Be brief."))
    assert tokenizer("student").decode(list(scored[0].prompt_token_ids)) == PROMPT["student"]


def test_the_last_answer_alone_is_trained_on(tmp_path: Path) -> None:
    lake_rows = filled("divergence_sample", ROW | {"weight": 1.0})
    mixed = off_policy_rows(lake_rows.select(OFF_POLICY_COLUMNS).to_batches(), pa.array(["r1"]))
    for rows in (lake_rows, pa.Table.from_batches(list(mixed))):
        file = tmp_path / "data.parquet"
        pq.write_table(rows, file)
        samples = load_samples(
            [file], written("student"), system_prompt="Be brief.", max_length=256,
            vocab_size=len(tokenizer("student")), compare_lengths=False,
        )  # fmt: skip
        masked = samples.token_ids[: samples.n_masked[0]].tolist()
        assert tokenizer("student").decode(masked) == PROMPT["student"]
        trained = tokenizer("student").decode(samples.token_ids[samples.n_masked[0] :].tolist())
        assert trained == ROW["response_text"] + "<|im_end|>"
