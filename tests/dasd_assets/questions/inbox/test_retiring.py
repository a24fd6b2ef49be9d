"""A shard is taken out: shown first, then whole, and nothing that was paid for is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from support.checked_lake import CELL, LOW, SHARD, N, fill, good_rows, put

from checks.kept_results import keep
from dasd_assets.dagster_internals import AssetGraph, graph_view, job_of_module, start_backfill
from dasd_assets.declaring.stored_data import TABLE
from dasd_assets.partitions import QUESTION_SHARD, question_shards
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


@dg.asset(partitions_def=question_shards, metadata={TABLE: "questions"})
def questions() -> None:
    """As the pipeline's."""


defs = dg.Definitions(
    [divergence_sample, questions],
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
    assert lake.exists("mixed_policy_sample")
    found = retire(lake, instance, str(inbox), "s")
    assert (results["t"].is_file(), results["s"].is_file()) == (True, False)
    assert not any(lake.partitions(table, question_shard="s") for table in found.rows)
    retired = Path(lake.root, "_retired", "teacher_responses", "temperature=low")
    assert (retired / "question_shard=s" / "data.parquet").read_bytes() == answers
    name = lake.name("divergence_sample", LOW)
    for one in (name, lake.name("mixed_policy_sample")):
        assert "retired question_shard s" in str(Examination(lake).problem(one))
    assert instance.get_dynamic_partitions(QUESTION_SHARD) == ["other"]
    with pytest.raises(RetireError, match="no question_shard 's'; there are other"):
        retire(lake, instance, str(inbox), "s")


def test_what_was_interrupted_is_begun_again(
    lake: Lake, instance: dg.DagsterInstance, inbox: Path
) -> None:
    lake.retire("questions", SHARD)
    assert "questions" not in retire(lake, instance, str(inbox), "s").rows
    assert instance.get_dynamic_partitions(QUESTION_SHARD) == ["other"]


def reject(lake: Lake, shard: str, *rejected: tuple[str, str]) -> None:
    """Of rows of a shard the reason and the evidence."""
    rows = [{"reason": reason, "evidence": evidence} for reason, evidence in rejected]
    put(lake, "rejected_questions", {QUESTION_SHARD: shard}, *rows)
    put(lake, "questions", {QUESTION_SHARD: shard}, {"question_id": shard})


def test_what_others_lost_to_it_is_theirs_again(
    lake: Lake, instance: dg.DagsterInstance, inbox: Path
) -> None:
    """As where a drop was delivered once more under another name, and the first is retired."""
    reject(lake, "a", ("duplicate_of_shard", "s"), ("near_duplicate_of_shard", "q1 s (Jaccard 1)"))
    reject(lake, "b", ("duplicate_of_shard", "other"), ("duplicate_in_drop", "s"),
           ("near_duplicate_of_shard", "s s2 (Jaccard 0.900)"), ("contaminated", "s"))  # fmt: skip
    found = leaving(lake, instance, "s")
    assert found.returning == {"a": 2}
    assert "questions a: 2 row(s) were rejected for it; to be curated anew" in found.lines()
    retire(lake, instance, str(inbox), "s")
    problems = [
        Examination(lake).problem(lake.name("questions", {QUESTION_SHARD: shard})) for shard in "ab"
    ]
    assert problems == ["lost questions to the retired question_shard s", None]


@pytest.mark.parametrize("why", ["its drop is there", "a run is going on", "a backfill is"])
def test_what_would_come_back_or_is_in_use_is_refused(
    lake: Lake, instance: dg.DagsterInstance, inbox: Path, why: str
) -> None:
    if why == "its drop is there":
        (inbox / "s.jsonl").write_text("{}", encoding="utf-8")
        expected = r"s.jsonl is still in the inbox .* take it out first.*exclude_shards"
    elif why == "a backfill is":
        subset = graph_view(GRAPH, instance).get_full_subset(key=divergence_sample.key)
        backfill = start_backfill(instance, [subset], "by", "title", {})
        expected = f"backfill\\(s\\) {backfill} are not finished and may ask for s yet"
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
    reject(lake, "other", ("duplicate_of_shard", "s"))
    instance.report_runless_asset_event(dg.AssetMaterialization("questions", partition="other"))
    instance.report_runless_asset_event(
        dg.AssetMaterialization("divergence_sample", partition="low")
    )
    config = {"ops": {"retire_shard": {"config": {"question_shard": "s", "yes": True}}}}
    job = job_of_module(__name__, "retire_question_shard")
    assert dg.execute_job(job, instance, run_config=config).success
    (backfill,) = instance.get_backfills()
    assert backfill.title == "retire_question_shard"
    assert "questions: other" in str(backfill.description)
    assert backfill.tags == {"profile": "tiny", "dasd/by": "retire_question_shard"}
