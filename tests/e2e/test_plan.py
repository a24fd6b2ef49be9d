"""What `dasd plan` and `dasd status` say of a pipeline that has really run."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest
from support.finished_pipeline import Finished
from support.pipeline import Pipeline

from dasd_assets.partitions import QUESTION_SHARD

pytestmark = pytest.mark.slow

BY_SHARD = ("raw_questions", "questions", "student_rollouts", "teacher_continuations")


@pytest.fixture(scope="module")
def planned(finished: Finished) -> dict[str, Any]:
    result = finished[0].ask("plan", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(result.stdout)


def rows_in_the_lake(pipeline: Pipeline, asset: str, part: str) -> int:
    """Rows of an asset's main table, or of one temperature or benchmark of it."""
    table, _, checkpoint = asset.partition("/")
    found = 0
    for keys in pipeline.lake.partitions(table):
        if (not part or part in keys.values()) and (not checkpoint or checkpoint in keys.values()):
            found += pq.read_metadata(pipeline.lake.path(table, keys)).num_rows
    return found


def test_before_the_run_its_requests_are_counted_exactly(finished: Finished) -> None:
    """Requests of the teacher and of the evaluations depend on nothing that was measured."""
    pipeline, _ = finished
    questions = str(rows_in_the_lake(pipeline, "questions", ""))
    made = json.loads(pipeline.ask("plan", "--json", "--questions", questions,
                                   "--kept-share", "1").stdout)  # fmt: skip
    asked = {(a["asset"], a["part"]): a["requests"] for a in made["assets"] if a["requests"]}
    for asset, part in [
        ("teacher_responses", "low"), ("teacher_responses", "high"),
        *((f"evaluation/{name}", "math") for name in ("base", "low_temperature", "dasd")),
    ]:  # fmt: skip
        assert asked[asset, part] == rows_in_the_lake(pipeline, asset, part)


def test_rows_of_every_table_are_those_that_were_made(
    finished: Finished, planned: dict[str, Any]
) -> None:
    pipeline, _ = finished
    exact = Counter[str]()
    for asset in planned["assets"]:
        name, part = asset["asset"], asset["part"]
        if name.endswith(("_checkpoint", "_release")):
            continue
        real = rows_in_the_lake(pipeline, name, part)
        if name in (
            "teacher_continuations", "mixed_policy_sample", "mixed_policy_training_set",
            "student_rollouts",
        ):  # fmt: skip
            # Which questions are in both samples, and which continuations pass, nobody knows.
            assert asset["rows"] >= real * 0.7
        else:
            assert asset["rows"] == real, (name, part)
            exact[name] += 1
        if name.startswith("evaluation_provenance"):  # a row is a sentence of an answer
            scores = name.replace("provenance", "teacher_scores")
            assert asset["requests"] == rows_in_the_lake(pipeline, scores, part)
        else:
            assert asset["requests"] in (0, asset["rows"])
    assert len(exact) == 20


def test_tokens_and_bytes_are_those_that_were_measured(
    finished: Finished, planned: dict[str, Any]
) -> None:
    pipeline, _ = finished
    for asset in planned["assets"]:
        if asset["asset"] not in ("teacher_responses", "student_scores"):
            continue
        where = {"temperature": asset["part"]}
        lake = pipeline.lake
        tokens = sum(
            len(row.as_py())
            for row in lake.read_partitions(asset["asset"], ["token_ids"], **where)["token_ids"]
        )
        if asset["asset"] == "teacher_responses":
            assert asset["tokens"] == pytest.approx(tokens)
        size = sum(
            lake.path(asset["asset"], keys).stat().st_size
            for keys in lake.partitions(asset["asset"], **where)
        )
        assert asset["disk_bytes"] == pytest.approx(size)
        assert asset["hours"] > 0
    sources = {f["name"]: f["source"] for f in planned["quantities"]}
    assert sources["mean_answer_tokens.low"] == sources["kept_share.high"] == "measured"
    assert planned["totals"]["hours"] > 0


def test_status_agrees_with_the_instance(finished: Finished) -> None:
    pipeline, _ = finished
    result = pipeline.ask("status", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    told = json.loads(result.stdout)
    assert told["drops_not_registered"] == []
    by_name = {asset["asset"]: asset for asset in told["assets"]}
    with dg.DagsterInstance.from_config(str(pipeline.home / "dagster")) as instance:
        runs = {run.run_id: run.status.value.lower() for run in instance.get_runs()}
        shards = instance.get_dynamic_partitions(QUESTION_SHARD)
    partitions = {f"{shard}|{temperature}" for shard in shards for temperature in ("low", "high")}
    assert {"drop-01|low", "drop-02|high"} <= partitions
    assert set(by_name["teacher_responses"]["partitions"]) == partitions
    assert by_name["teacher_responses"]["counts"]["up to date"] == len(partitions)
    for asset in told["assets"]:
        if asset["last_run"] is not None:
            assert runs[asset["last_run"]] == asset["last_run_status"] == "success"
        assert asset["counts"]["failed"] == asset["counts"]["missing"] == 0, asset["asset"]


def test_the_report_of_the_run_is_where_the_command_says(finished: Finished) -> None:
    pipeline, _ = finished
    result = pipeline.ask("report")
    assert result.stdout.strip() == str(pipeline.home / "lake" / "stage_report.html")


def test_the_doctor_finds_nothing_wrong(finished: Finished) -> None:
    result = finished[0].ask("doctor")
    assert result.returncode == 0, result.stdout
