"""A shard is taken out: shown first, then whole, and nothing that was paid for is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from support.checked_lake import CELL, LOW, SHARD, N, fill, good_rows

from checks.kept_results import keep
from dasd_assets.dagster_internals import AssetGraph, job_of_module
from dasd_assets.partitions import QUESTION_SHARD
from dasd_assets.profile import load_profile
from dasd_assets.questions.inbox.retiring import RetireError, build, leaving, retire
from resources.lake.examination import Examination
from resources.lake.lake import Lake

temperatures = dg.StaticPartitionsDefinition(["low", "high"])


@dg.asset(partitions_def=temperatures)
def divergence_sample() -> None:
    """As the pipeline's."""


def trained_on(temperature: str) -> dg.AssetsDefinition:
    only = dg.SpecificPartitionsPartitionMapping([temperature])

    @dg.asset(name=temperature, deps=[dg.AssetDep(divergence_sample, partition_mapping=only)])
    def checkpoint() -> None:
        """Of one temperature."""

    return checkpoint


GRAPH: AssetGraph = dg.Definitions(
    [divergence_sample, trained_on("low"), trained_on("high")]
).resolve_asset_graph()

defs = dg.Definitions(
    [divergence_sample],
    jobs=[build(load_profile("tiny"))],
    resources={"lake": Lake(root=dg.EnvVar("RETIRED_FROM"))},
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(root=str(tmp_path / "lake"))
    fill(lake, good_rows())
    return lake


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(QUESTION_SHARD, ["s", "other"])
        for name in ("low", "high"):
            instance.report_runless_asset_event(dg.AssetMaterialization(name))
        yield instance


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


def test_a_preview_names_what_leaves_and_changes_nothing(
    lake: Lake, instance: dg.DagsterInstance
) -> None:
    found = leaving(lake, instance, "s", GRAPH)
    assert found.rows["teacher_responses"] == N
    assert found.samples == {"low": N - 1}
    assert found.stale == ["low"], "what was trained on the other temperature is not"
    lines = list(found.lines())
    assert f"teacher_responses: {N} row(s) in 1 partition(s)" in lines
    assert lines[-2:] == [
        f"divergence_sample low: {N - 1} sample(s) of it; to be drawn anew",
        "stale after that: low",
    ]
    assert lake.exists("teacher_responses", CELL)
    assert instance.get_dynamic_partitions(QUESTION_SHARD) == ["s", "other"]


def test_a_retired_shard_is_in_no_table_and_its_samples_are_to_be_drawn_anew(
    lake: Lake, instance: dg.DagsterInstance, inbox: Path
) -> None:
    answers = lake.path("teacher_responses", CELL).read_bytes()
    results = {shard: keep(lake, "questions", {QUESTION_SHARD: shard}, shard, ()) for shard in "st"}
    found = retire(lake, instance, str(inbox), "s")
    assert (results["t"].is_file(), results["s"].is_file()) == (True, False)
    assert not any(lake.partitions(table, question_shard="s") for table in found.rows)
    retired = Path(lake.root, "_retired", "teacher_responses", "temperature=low")
    assert (retired / "question_shard=s" / "data.parquet").read_bytes() == answers
    name = lake.name("divergence_sample", LOW)
    assert "retired question_shard s" in str(Examination(lake).problem(name))
    assert instance.get_dynamic_partitions(QUESTION_SHARD) == ["other"]
    with pytest.raises(RetireError, match="no question_shard 's'; there are other"):
        retire(lake, instance, str(inbox), "s")


def test_what_was_interrupted_is_begun_again(
    lake: Lake, instance: dg.DagsterInstance, inbox: Path
) -> None:
    lake.retire("questions", SHARD)
    assert "questions" not in retire(lake, instance, str(inbox), "s").rows
    assert instance.get_dynamic_partitions(QUESTION_SHARD) == ["other"]


@pytest.mark.parametrize("why", ["its drop is there", "a run is going on"])
def test_what_would_come_back_or_is_in_use_is_refused(
    lake: Lake, instance: dg.DagsterInstance, inbox: Path, why: str
) -> None:
    if why == "its drop is there":
        (inbox / "s.jsonl").write_text("{}", encoding="utf-8")
        expected = r"s.jsonl is still in the inbox .* take it out first.*exclude_shards"
    else:
        job = dg.Definitions([divergence_sample]).resolve_implicit_global_asset_job_def()
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        expected = f"{run.run_id[:8]} are not finished"
        retire(lake, instance, str(inbox), "other", own_run=run.run_id)
    with pytest.raises(RetireError, match=expected):
        retire(lake, instance, str(inbox), "s")
    assert lake.exists("teacher_responses", CELL)


def test_the_job_has_the_samples_drawn_anew(
    lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Automation would not: what left is no event of an input."""
    monkeypatch.setenv("RETIRED_FROM", lake.root)
    instance.report_runless_asset_event(
        dg.AssetMaterialization("divergence_sample", partition="low")
    )
    config = {"ops": {"retire_shard": {"config": {"question_shard": "s", "yes": True}}}}
    job = job_of_module(__name__, "retire_question_shard")
    assert dg.execute_job(job, instance, run_config=config).success
    (backfill,) = instance.get_backfills()
    assert backfill.title == "retire_question_shard"
    assert backfill.tags == {"profile": "tiny", "dasd/by": "retire_question_shard"}
