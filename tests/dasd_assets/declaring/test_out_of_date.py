"""One answer to what is missing or stale, and what of it can be made now."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import pytest
from support.checked_lake import put

from dasd_assets.dagster_internals import keys_of
from dasd_assets.declaring.out_of_date import (
    DRAWN,
    MANY,
    Cause,
    OutOfDate,
    Staleness,
    State,
)
from dasd_assets.declaring.stored_data import STORED, TABLE, StoredData
from dasd_assets.graph import build_definitions
from dasd_assets.partitions import QUESTION_SHARD, TEMPERATURE, question_shards
from dasd_assets.profile import load_profile
from resources.lake.lake import Lake
from resources.lake.tables import TABLES

temperatures = dg.StaticPartitionsDefinition(["low", "high"])
grid = dg.MultiPartitionsDefinition({TEMPERATURE: temperatures, QUESTION_SHARD: question_shards})
same_shard = dg.MultiToSingleDimensionPartitionMapping(QUESTION_SHARD)
same_temperature = dg.MultiToSingleDimensionPartitionMapping(TEMPERATURE)


@dg.asset(partitions_def=question_shards)
def questions() -> None:
    """As the pipeline's."""


@dg.asset(
    partitions_def=grid,
    deps=[dg.AssetDep(questions, partition_mapping=same_shard)],
    metadata={TABLE: "filtered_responses"},
)
def responses() -> None:
    """As the pipeline's."""


@dg.asset(
    partitions_def=temperatures, deps=[dg.AssetDep(responses, partition_mapping=same_temperature)]
)
def sample() -> None:
    """As the pipeline's, over all shards."""


@dg.asset(
    deps=[
        dg.AssetDep(sample, partition_mapping=dg.SpecificPartitionsPartitionMapping(["low"])),
        dg.AssetDep(questions, partition_mapping=dg.AllPartitionMapping()),
    ],
    metadata={STORED: "checkpoints/low_temperature"},
)
def checkpoint() -> None:
    """Has no partitions."""


ASSETS = [questions, responses, sample, checkpoint]
Q, R, S, C = (asset.key for asset in ASSETS)
GRAPH = dg.Definitions(ASSETS).resolve_asset_graph()


class Pipeline:
    """The four assets over an instance."""

    def __init__(self, shards: list[str], lake: Path = Path("/nowhere")) -> None:
        self.lake = Lake(root=str(lake))
        self.instance = dg.DagsterInstance.ephemeral()
        self.instance.add_dynamic_partitions(QUESTION_SHARD, shards)
        self._job = dg.Definitions(
            ASSETS, executor=dg.in_process_executor
        ).resolve_implicit_global_asset_job_def()

    def make(self, key: dg.AssetKey, *partitions: str) -> None:
        """In runs, so that it is known what it was made of."""
        for partition in partitions or (None,):
            self._job.execute_in_process(
                instance=self.instance, asset_selection=[key], partition_key=partition
            )

    def report(self, key: dg.AssetKey, partition: str, version: str) -> None:
        """As made with this content."""
        tags = {"dagster/data_version": version}
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization(key, partition=partition, tags=tags)
        )

    def make_all(self, shards: list[str]) -> None:
        self.make(Q, *shards)
        self.make(R, *(f"{shard}|{temperature}" for temperature in ("low", "high")
                       for shard in shards))  # fmt: skip
        self.make(S, "low", "high")
        self.make(C)

    def store(self, shards: list[str]) -> None:
        """What the assets would have written."""
        for shard in shards:
            for temperature in ("low", "high"):
                for table in ("rejected_responses", "filtered_responses"):
                    cell = {TEMPERATURE: temperature, QUESTION_SHARD: shard}
                    put(self.lake, table, cell, {"response_id": "r1"})
        folder = self.lake.checkpoint_folder("low_temperature", "abc")
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text("{}", encoding="utf-8")
        self.lake.publish_checkpoint("low_temperature", "abc")

    def look(self) -> Staleness:
        return Staleness(GRAPH, self.instance, self.lake)


@pytest.mark.parametrize(
    ("drawn", "missing", "below"),
    [
        (False, {"a|low"}, {"low"}),
        (True, {"a|low"}, set()),
        (True, {"a|low", "b|low"}, {"low"}),
        (True, {"a|low", "b|low", "a|high"}, {"low"}),
        (False, {"a|low", "b|high"}, {"low", "high"}),
    ],
)
def test_what_cannot_be_made_without_partitions_of_an_input(
    drawn: bool, missing: set[str | None], below: set[str]
) -> None:
    graph = dg.Definitions(
        [questions, responses, sample.map_asset_specs(lambda spec: spec.merge_attributes(
            metadata={DRAWN: drawn}))]
    ).resolve_asset_graph()  # fmt: skip
    staleness = Staleness(graph, Pipeline(["a", "b"]).instance)
    assert staleness.below(S, {R: missing}) == below
    waiting = staleness.out_of_date({S}).waiting
    assert keys_of(waiting[S]) == {"low", "high"}, "nothing was ever made"


def parts(found: OutOfDate) -> tuple[dict, dict, dict]:
    return tuple(
        {key.to_user_string(): keys_of(subset) for key, subset in some.items()}
        for some in (found.ready, found.waiting, found.causes)
    )  # type: ignore[return-value]


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    pipeline = Pipeline(["a", "b"], tmp_path)
    pipeline.store(["a", "b", "c"])
    return pipeline


def test_states_and_causes(pipeline: Pipeline) -> None:
    assert pipeline.look().state(Q, "a") == State.MISSING
    assert pipeline.look().causes(Q, "a") == []
    pipeline.make_all(["a", "b"])
    now = pipeline.look()
    assert {now.state(Q, "a"), now.state(R, "a|low"), now.state(S, "low"), now.state(C)} == {
        State.FRESH
    }
    pipeline.make(S, "low")
    changed = pipeline.look()
    assert changed.state(C) == State.STALE
    (cause,) = changed.causes(C)
    assert cause.source == "sample [low]"
    assert str(cause) == f"{cause.reason}: sample [low]"
    assert str(Cause("has a new code version")) == "has a new code version"


def test_all_is_ready_in_order_where_all_is_asked_for(pipeline: Pipeline) -> None:
    found = pipeline.look().out_of_date({Q, R, S, C})
    cells = {"a|low", "a|high", "b|low", "b|high"}
    assert parts(found)[0] == {
        "questions": {"a", "b"}, "responses": cells, "sample": {"low", "high"},
        "checkpoint": {None},
    }  # fmt: skip
    assert list(found.ready) == [Q, R, S, C]
    assert not found.waiting and not found.causes
    pipeline.make_all(["a", "b"])
    assert pipeline.look().out_of_date({Q, R, S, C}) == OutOfDate()


def test_what_is_below_a_stale_one_is_out_of_date(pipeline: Pipeline) -> None:
    pipeline.make_all(["a", "b"])
    pipeline.make(Q, "a")
    found = pipeline.look().out_of_date({R, S, C})
    assert parts(found)[0] == {
        "responses": {"a|low", "a|high"}, "sample": {"low", "high"}, "checkpoint": {None},
    }  # fmt: skip
    assert found.partitions(R) == {"a|low", "a|high"}
    assert found.partitions(Q) == set()


def test_what_was_never_made_above_is_waited_for(pipeline: Pipeline) -> None:
    pipeline.make_all(["a", "b"])
    pipeline.instance.add_dynamic_partitions(QUESTION_SHARD, ["c"])
    found = pipeline.look().out_of_date({R, S})
    assert parts(found) == (
        {},
        {"responses": {"c|low", "c|high"}, "sample": {"low", "high"}},
        {"questions": {"c"}},
    )
    assert found.partitions(S) == {"low", "high"}


def test_only_some_keys_of_some_dimensions(pipeline: Pipeline) -> None:
    among = {
        QUESTION_SHARD: (question_shards, ["b"]),
        TEMPERATURE: (temperatures, ["high"]),
    }
    found = pipeline.look().out_of_date({Q, R, S, C}, among)
    assert found.partitions(Q) == {"b"}
    assert found.partitions(R) == {"b|high"}
    assert found.partitions(S) == {"high"}


def test_a_sample_over_many_shards_is_stale_when_one_of_them_changed() -> None:
    """Dagster itself compares nothing there."""
    shards = [f"s{number:03}" for number in range(MANY + 1)]
    pipeline = Pipeline(shards)
    for shard in shards:
        for temperature in ("low", "high"):
            pipeline.report(R, f"{shard}|{temperature}", "1")
    pipeline.make(S, "low", "high")
    assert {pipeline.look().state(S, key) for key in ("low", "high")} == {State.FRESH}

    pipeline.report(R, "s007|low", "1")
    assert pipeline.look().state(S, "low") == State.FRESH, "made again, and the same"

    pipeline.report(R, "s007|low", "2")
    now = pipeline.look()
    assert now.state(S, "low") == State.STALE
    assert now.state(S, "high") == State.FRESH
    assert now.causes(S, "low") == [
        Cause("has a new dependency data version", "responses [s007|low]")
    ]
    assert now.out_of_date({S}).partitions(S) == {"low"}
    pipeline.make(S, "low")
    assert pipeline.look().state(S, "low") == State.FRESH

    pipeline.instance.add_dynamic_partitions(QUESTION_SHARD, ["new"])
    assert pipeline.look().state(S, "high") == State.FRESH, "not made yet"
    pipeline.report(R, "new|high", "1")
    assert pipeline.look().state(S, "high") == State.STALE


def test_what_is_gone_from_the_lake_or_damaged_there_is_out_of_date(pipeline: Pipeline) -> None:
    assert pipeline.look().damage(R, "a|low") == [], "never made, so nothing is missed"
    pipeline.make_all(["a", "b"])
    assert pipeline.look().out_of_date({Q, R, S, C}) == OutOfDate()
    place = Path(pipeline.lake.root, "rejected_responses/temperature=low/question_shard=b")
    (place / "data.parquet").write_bytes(b"PAR1")
    name = "rejected_responses/temperature=low/question_shard=b/data.parquet"
    now = pipeline.look()
    (problem,) = now.damage(R, "b|low")
    assert problem.startswith(f"{name} has 4 bytes where ")
    assert now.state(R, "b|low") == State.STALE and now.state(R, "a|low") == State.FRESH
    assert [cause.reason for cause in now.causes(R, "b|low")] == [problem]
    found = now.out_of_date({Q, R, S, C})
    assert (found.partitions(Q), found.partitions(R)) == (set(), {"b|low"})
    assert (found.partitions(S), found.partitions(C)) == ({"low"}, {None})

    pipeline.store(["b"])
    assert pipeline.look().out_of_date({Q, R, S, C}) == OutOfDate()
    for table in ("rejected_responses", "filtered_responses"):  # manifests and all
        shutil.rmtree(Path(pipeline.lake.root, table, "temperature=high/question_shard=a"))
    Path(pipeline.lake.root, "checkpoints/low_temperature/current.json").unlink()
    now = pipeline.look()
    assert len(now.damage(R, "a|high")) == 2
    assert now.out_of_date({R}).partitions(R) == {"a|high"}
    assert now.damage(C) == ["checkpoints/low_temperature is gone"]


def test_every_table_of_the_lake_and_what_lies_beside_is_looked_at(tmp_path: Path) -> None:
    graph = build_definitions(load_profile("tiny"), tmp_path).resolve_asset_graph()
    stored = StoredData(graph, Lake(root=str(tmp_path)))
    cell = dg.MultiPartitionKey({TEMPERATURE: "low", QUESTION_SHARD: "s"})
    names = [
        name
        for key in graph.materializable_asset_keys
        for name in stored.names(
            key,
            cell
            if isinstance(graph.get(key).partitions_def, dg.MultiPartitionsDefinition)
            else "s",
        )
    ]
    only_where_a_setting_asks = {
        "imported_answers", "quarantined_answers", "student_training_set", "teacher_scores",
        "teacher_top_logprobs",
    }  # fmt: skip
    looked_at = {name.split("/")[0] for name in names if name.endswith("/data.parquet")}
    assert looked_at == set(TABLES) - only_where_a_setting_asks
    assert "filtered_responses/temperature=low/question_shard=s/data.parquet" in names
    assert "divergence_candidates/temperature=s/data.parquet" in names
    assert "evaluation/checkpoint=base/benchmark=s/data.parquet" in names
    assert "mixed_policy_sample/data.parquet" in names
    assert {name for name in names if not name.endswith("/data.parquet")} == {
        "checkpoints/low_temperature", "checkpoints/high_temperature", "checkpoints/dasd",
        "provenance_viewer/s.html", "releases/model", "releases/dataset", "stage_report.html",
        "training_sets/low_temperature", "training_sets/high_temperature", "training_sets/dasd",
    }  # fmt: skip
