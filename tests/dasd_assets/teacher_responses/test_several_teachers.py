"""Two teachers that write in other formats: both are asked, read as they write, and named."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.compute as pc
import pytest
from support.checked_lake import evaluate, failed
from support.format_models import with_opening
from support.small_lake import filled

from dasd_assets.graph import build_definitions
from dasd_assets.profile import PROJECT_ROOT, Teacher, load_profile
from dasd_assets.teacher_responses.sharing import asked_of
from resources.engines.transformers_engine import TransformersEngine
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow

CELL = {"temperature": "low", "question_shard": "s"}


def shipped_questions(n: int) -> list[dict[str, Any]]:
    lines = (PROJECT_ROOT / "tiny_world/inbox/drop-01.jsonl").read_text().splitlines()[:n]
    return [
        {"question_id": f"q{i:02}", "answer": json.dumps(row["answer"]), "earlier_messages": None,
         **{name: row[name] for name in ("question", "domain")}}
        for i, row in enumerate(map(json.loads, lines))
    ]  # fmt: skip


def test_both_answer_their_questions_and_are_read_as_they_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = load_profile("tiny")
    thinks = with_opening(tmp_path / "thinks", "<think>\n")
    other = Teacher(path=str(thinks), engine=tiny.teacher.engine, questions=0.5)
    profile = tiny.model_copy(
        update={
            "lake": str(tmp_path / "lake"),
            "teachers": {"other": other},
            "teacher_responses": tiny.teacher_responses.model_copy(
                update={"samples_per_question": {"low": 1, "high": 1}}
            ),
            "response_filtering": tiny.response_filtering.model_copy(update={"judge_domains": []}),
        }
    )
    lake = Lake(root=str(tmp_path / "lake"))
    questions = filled("questions", *shipped_questions(8))
    lake.write("questions", questions, {"question_shard": "s"})
    theirs = asked_of("other", questions, {"teacher": "all", "other": 0.5}, profile.seed)
    assert 0 < theirs.num_rows < 8

    asked: list[str] = []
    generate = TransformersEngine.generate

    def counted(self: TransformersEngine, requests: Sequence[Any], *rest: Any) -> Iterator[Any]:
        asked.extend([self.identity.model] * len(requests))
        return generate(self, requests, *rest)

    monkeypatch.setattr(TransformersEngine, "generate", counted)
    job = build_definitions(profile, tmp_path).resolve_implicit_global_asset_job_def()

    def make(asset: str) -> None:
        result = job.execute_in_process(
            asset_selection=[dg.AssetKey(asset.split("/"))], instance=instance,
            partition_key=None if "model" in asset else dg.MultiPartitionKey(CELL),
        )  # fmt: skip
        assert result.success

    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("question_shard", ["s"])
        make("teacher_model/other")
        asked.clear()  # of what the model is tried on
        for asset in ("teacher_responses", "filtered_responses"):
            make(asset)
        assert asked == ["teacher"] * 8 + ["thinks"] * theirs.num_rows
        written = lake.path("teacher_responses", CELL).read_bytes()
        make("teacher_responses")
    assert len(asked) == 8 + theirs.num_rows
    assert lake.path("teacher_responses", CELL).read_bytes() == written
    assert not list((tmp_path / "lake" / "_journals").glob("*.journal"))

    rows = lake.read("teacher_responses", CELL)
    by_other = rows.filter(pc.equal(rows["model"], "thinks"))
    assert by_other["question_id"].to_pylist() == theirs["question_id"].to_pylist()
    assert len(set(rows["model_revision"].to_pylist())) == 2
    kept = lake.read("filtered_responses", CELL, ["response_id"])["response_id"].to_pylist()
    writer = dict(zip(rows["response_id"].to_pylist(), rows["model"].to_pylist(), strict=True))
    assert {writer[name] for name in kept} == {"teacher", "thinks"}
    rejected = lake.read("rejected_responses", CELL)
    broken = [rule["rule"] for rules in rejected["broken_rules"].to_pylist() for rule in rules]
    assert "malformed_answer" not in broken

    assert failed(evaluate(lake, "teacher_responses", profile)) <= {"few_truncated"}
    lake.write("teacher_responses", rows.filter(pc.equal(rows["model"], "teacher")), CELL)
    assert "all_answered" in failed(evaluate(lake, "teacher_responses", profile))
