"""The asset: both tables of a partition, and the funnel of its shard as numbers and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from support.teacher_rows import teacher_rows

from dasd_assets.graph import inference_model
from dasd_assets.profile import load_profile
from dasd_assets.response_filtering import assets
from dasd_assets.verification.sandbox import SandboxError
from resources.lake.lake import Lake
from resources.lake.tables.questions import QUESTIONS
from resources.lake.tables.teacher_responses import TEACHER_RESPONSES

pytestmark = pytest.mark.slow

ANALYSIS = "<|channel|>analysis<|message|>"
FINAL = "<|start|>assistant<|channel|>final<|message|>"
GOOD = f"{ANALYSIS}Ones: 1 + 2 = 3.<|end|>{FINAL}The answer is \\boxed{{3}}.<|return|>"


def put_answers(lake: Lake, tokenizer: Any, temperature: str, *wires: str) -> None:
    rows = teacher_rows(tokenizer, wires, prefix=temperature)
    cell = {"temperature": temperature, "question_shard": "s1"}
    lake.write("teacher_responses", pa.Table.from_pylist(rows, schema=TEACHER_RESPONSES), cell)


def test_a_partition_has_both_tables_and_the_funnel_of_its_shard(tmp_path: Path) -> None:
    profile = load_profile("tiny")
    filtering = profile.response_filtering.model_copy(update={"verify_domains": ["math"]})
    profile = profile.model_copy(update={"response_filtering": filtering})
    lake = Lake(root=str(tmp_path / "lake"))
    teacher = inference_model(profile.teacher, profile.compute.teacher_inference)
    student = inference_model(profile.base_student, profile.compute.student_inference)
    question = {
        "question_id": "q", "domain": "math", "question": "What is 1 + 2?", "answer": '"3"',
        "difficulty": None, "source": None, "drop": "s1.jsonl", "line": 1,
    }  # fmt: skip
    lake.write(
        "questions", pa.Table.from_pylist([question], schema=QUESTIONS), {"question_shard": "s1"}
    )
    put_answers(lake, teacher.tokenizer(), "low", GOOD, GOOD.replace("{3}", "{4}"))
    put_answers(lake, teacher.tokenizer(), "high", GOOD, f"{ANALYSIS}It was cut off")
    (asset,) = assets.build(profile)
    metadata: dict[str, dg.MetadataValue] = {}
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("question_shard", ["s1"])
        for temperature in ("low", "high"):
            result = dg.materialize(
                [asset],
                partition_key=dg.MultiPartitionKey(
                    {"temperature": temperature, "question_shard": "s1"}
                ),
                resources={"lake": lake, "teacher": teacher, "base_student_model": student},
                instance=instance,
                raise_on_error=True,
            )
            (made,) = result.asset_materializations_for_node("filtered_responses")
            metadata = dict(made.metadata)
    kept = lake.read_partitions("filtered_responses", ["response_id"])
    assert kept["response_id"].to_pylist() == ["high0", "low0"]
    # The second temperature shows the first beside it.
    assert metadata["funnel_counts"].value == {
        "low": {"math": {"sampled": 2, "kept": 1, "incorrect_answer": 1}},
        "high": {"math": {"sampled": 2, "kept": 1, "hit_max_tokens": 1, "no_final_answer": 1}},
    }
    assert "| math | low | incorrect_answer | 1 | 50.0% |" in str(metadata["funnel"].value)
    assert "/funnel_plot." in str(metadata["funnel_plot"].value)
    assert metadata["rejected"].value == 1


def test_without_a_sandbox_nothing_is_filtered_where_programs_are_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = load_profile("tiny")
    lake = Lake(root=str(tmp_path / "lake"))
    teacher = inference_model(tiny.teacher, tiny.compute.teacher_inference)
    student = inference_model(tiny.base_student, tiny.compute.student_inference)
    answer = '{"tests": [{"input": "1", "output": "1"}]}'
    question = {
        "question_id": "q", "domain": "code", "question": "Print it.", "answer": answer,
        "difficulty": None, "source": None, "drop": "s1.jsonl", "line": 1,
    }  # fmt: skip
    lake.write(
        "questions", pa.Table.from_pylist([question], schema=QUESTIONS), {"question_shard": "s1"}
    )
    put_answers(lake, teacher.tokenizer(), "low", GOOD)
    monkeypatch.setenv("PATH", "/nowhere")
    key = dg.MultiPartitionKey({"temperature": "low", "question_shard": "s1"})

    def filtered(**settings: list[str]) -> None:
        filtering = tiny.response_filtering.model_copy(update=settings)
        (asset,) = assets.build(tiny.model_copy(update={"response_filtering": filtering}))
        with dg.DagsterInstance.ephemeral() as instance:
            instance.add_dynamic_partitions("question_shard", ["s1"])
            dg.materialize(
                [asset], partition_key=key, instance=instance,
                resources={"lake": lake, "teacher": teacher, "base_student_model": student},
            )  # fmt: skip

    for setting in ("verify_domains", "judge_domains"):
        with pytest.raises(SandboxError, match="apt-get install bubblewrap"):
            filtered(**{setting: ["code"]})
        assert not lake.exists("filtered_responses", {"temperature": "low", "question_shard": "s1"})
    filtered(verify_domains=[], judge_domains=["math"])
