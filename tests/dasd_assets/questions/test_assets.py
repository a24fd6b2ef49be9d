"""The assets through Dagster: drops of all kinds, shards in turn, and again."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dasd_assets.partitions import QUESTION_SHARD
from dasd_assets.profile import Benchmark, Layout, Profile, load_profile
from dasd_assets.questions.assets import build
from dasd_assets.questions.reading.rows import DropError
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow

TABLES = ("raw_questions", "quarantined_rows", "questions", "rejected_questions",
          "question_signatures")  # fmt: skip
LONG = (
    "Tell me in your own words why the sky is blue at noon and red when the sun goes down. Say "
    "which light is scattered most, what that has to do with the way the light takes through the "
    "air, and whether the same would be seen on a planet without one {}"
)


class World:
    """An inbox, a lake and the assets of the box."""

    def __init__(self, folder: Path) -> None:
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        benchmark = folder / "held_out.jsonl"
        benchmark.write_text(json.dumps(row("What was asked?")), encoding="utf-8")
        tiny = load_profile("tiny")
        layout = Layout.model_validate(
            {"question": "q", "domain": {"value": "science"}, "answer": {"value": None}}
        )
        self.profile: Profile = tiny.model_copy(
            update={
                "questions": tiny.questions.model_copy(
                    update={"inbox": str(self.inbox), "layouts": {"mapped*": layout}}
                ),
                "evaluation": tiny.evaluation.model_copy(
                    update={
                        "benchmarks": {"held_out": Benchmark(path=str(benchmark), max_tokens=9)}
                    }
                ),
            }
        )
        self.lake = Lake(root=str(folder / "lake"))
        self.instance = dg.DagsterInstance.ephemeral()
        self.assets = build(self.profile)
        self.run("benchmark_questions", "held_out")

    def run(self, asset: str, partition: str) -> dict[str, dg.MetadataValue]:
        """Materialize one partition; its metadata."""
        result = dg.materialize(
            self.assets, selection=[asset], partition_key=partition,
            resources={"lake": self.lake}, instance=self.instance,
        )  # fmt: skip
        return dict(result.asset_materializations_for_node(asset)[0].metadata)

    def curate(self, shard: str) -> dict[str, dg.MetadataValue]:
        """Read and curate one drop; metadata of `questions`."""
        self.instance.add_dynamic_partitions(QUESTION_SHARD, [shard])
        self.run("raw_questions", shard)
        return self.run("questions", shard)

    def files(self, shard: str) -> dict[str, bytes]:
        """Content of the shard's files in the lake."""
        paths = {table: self.lake.path(table, {QUESTION_SHARD: shard}) for table in TABLES}
        return {table: path.read_bytes() for table, path in paths.items()}


def row(question: str) -> dict[str, object]:
    return {"question": question, "domain": "science", "answer": "A"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_drops_of_all_kinds_become_shards_and_later_ones_change_no_earlier_one(
    world: World,
) -> None:
    lines = [row("one?"), row(LONG.format("")), {"question": 3}, row("what WAS asked")]
    (world.inbox / "a.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    pq.write_table(pa.table({"q": ["ONE?", "two?", None]}), world.inbox / "mapped-b.parquet")
    folder = world.inbox / "c"
    folder.mkdir()
    columns = pa.Table.from_pylist([row(LONG.format("please")), row("three?")])
    pq.write_table(columns, folder / "part.parquet")

    first = world.curate("a")
    assert first["rejected_by_reason"].value == {"contaminated": 1}
    assert first["dagster/row_count"].value == 2
    before = world.files("a")
    second = world.curate("mapped-b")
    assert second["rejected_by_reason"].value == {"duplicate_of_shard": 1}
    third = world.curate("c")
    assert third["rejected_by_reason"].value == {"near_duplicate_of_shard": 1}
    (quarantined,) = world.lake.read("quarantined_rows", {QUESTION_SHARD: "a"}).to_pylist()
    assert (quarantined["drop"], quarantined["line"]) == ("a.jsonl", 3)
    assert world.files("a") == before
    orders = world.lake.read_partitions("question_signatures", ["curation_order"])
    assert dict(
        zip(orders[QUESTION_SHARD].to_pylist(), orders["curation_order"].to_pylist(), strict=True)
    ) == {"a": 1, "mapped-b": 2, "c": 3}

    everything = {shard: world.files(shard) for shard in ("a", "mapped-b", "c")}
    for shard in ("c", "a", "mapped-b"):
        world.curate(shard)
    assert {shard: world.files(shard) for shard in everything} == everything
    assert not list(Path(world.lake.root, "_scratch").iterdir())


def test_a_drop_that_cannot_be_read_leaves_no_table(world: World) -> None:
    pq.write_table(pa.table({"question": ["a"]}), world.inbox / "a.parquet")
    with pytest.raises(DropError, match=r"a\.parquet: no column 'domain'"):
        world.curate("a")
    assert not world.lake.partitions("raw_questions")
