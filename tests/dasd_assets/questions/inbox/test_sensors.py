"""The inbox sensor: each drop is asked for once, whatever happens to the inbox."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest

from dasd_assets.dagster_internals import DATA_VERSION_TAG
from dasd_assets.partitions import QUESTION_SHARD
from dasd_assets.profile import Profile, load_profile
from dasd_assets.questions.inbox import file_contents, sensors
from dasd_assets.questions.inbox.listing import inbox_at
from dasd_assets.questions.inbox.observed_drops import Seen


class Inbox:
    """An inbox that a sensor looks at; ticks are carried out in the daemon's order."""

    def __init__(self, folder: Path, inbox: str | None = None) -> None:
        self.path = folder / "inbox"
        self.path.mkdir()
        tiny = load_profile("tiny")
        settings = tiny.questions.model_copy(update={"inbox": inbox or str(self.path)})
        self.profile: Profile = tiny.model_copy(update={"questions": settings})
        self.instance = dg.DagsterInstance.ephemeral()
        self.sensor = sensors.build(self.profile)
        self.warnings: list[str] = []
        self._clock = time.time() - 3_600

    def put(self, name: str, content: str) -> Path:
        """Write a file, long ago, but later than the one before."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
        self._clock += 1
        os.utime(path, (self._clock, self._clock))
        return path

    def look(self) -> dg.SensorResult | dg.SkipReason:
        return self.sensor(dg.build_sensor_context(instance=self.instance))

    def tick(self) -> list[str]:
        """Run keys that a tick asks for."""
        result = self.look()
        if isinstance(result, dg.SkipReason):
            self.warnings = [str(result.skip_message)]
            return []
        return self.carry_out(result)

    def carry_out(self, result: dg.SensorResult) -> list[str]:
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        for request in result.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions(QUESTION_SHARD, list(request.partition_keys))
        keys = [str(request.run_key) for request in result.run_requests or []]
        for request in result.run_requests or []:
            self.instance.report_runless_asset_event(
                dg.AssetMaterialization("raw_questions", partition=request.partition_key)
            )
        return keys

    @property
    def shards(self) -> list[str]:
        return list(self.instance.get_dynamic_partitions(QUESTION_SHARD))


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path)


def shards_of(run_keys: list[str]) -> list[str]:
    return [key.split("@")[0] for key in run_keys]


def test_files_and_folders_are_registered_and_each_is_asked_for_once(inbox: Inbox) -> None:
    inbox.put("a.jsonl", "1")
    inbox.put("b/part.parquet", "2")
    inbox.put(".copying/part.parquet", "3")
    (inbox.path / "empty").mkdir()
    assert shards_of(inbox.tick()) == ["a", "b"]
    assert inbox.tick() == []
    inbox.put("c.parquet", "4")
    assert shards_of(inbox.tick()) == ["c"]
    assert inbox.shards == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("n_bytes", "expected"), [(0, 11), (999, 9), (1_000_000, 5), (10**10, 1), (10**15, 0)]
)
def test_a_small_drop_passes_a_large_one_and_both_pass_what_has_no_priority(
    n_bytes: int, expected: int
) -> None:
    assert sensors.priority(n_bytes) == expected


def test_a_drop_is_asked_for_with_its_priority_and_by_whom(inbox: Inbox) -> None:
    inbox.put("a.jsonl", "x" * 20_000)
    inbox.put("b/part.jsonl", "1")
    asked = {request.partition_key: request.tags for request in inbox.look().run_requests}
    assert [asked[shard]["dagster/priority"] for shard in "ab"] == ["7", "11"]
    assert asked["a"]["dasd/by"] == "new_question_drops" and asked["a"]["profile"] == "tiny"


def test_a_drop_that_is_being_written_waits(inbox: Inbox) -> None:
    drop = inbox.put("a.jsonl", "half")
    os.utime(drop)
    assert inbox.tick() == []
    assert inbox.shards == []
    os.utime(drop, (time.time() - 60,) * 2)
    assert shards_of(inbox.tick()) == ["a"]


def test_a_changed_drop_is_read_again_and_a_touched_one_is_not(inbox: Inbox) -> None:
    inbox.put("a.jsonl", "one")
    inbox.put("b.jsonl", "two")
    first = inbox.tick()
    inbox.put("b.jsonl", "two")  # another time, the same content
    assert inbox.tick() == []
    inbox.put("a.jsonl", "changed")
    second = inbox.tick()
    inbox.put("a.jsonl", "one")  # and back again
    third = inbox.tick()
    assert shards_of(second) == shards_of(third) == ["a"]
    assert len({*first, *second, *third}) == 4
    versions = [
        record.asset_observation.tags[DATA_VERSION_TAG]
        for record in inbox.instance.fetch_observations(
            dg.AssetRecordsFilter(sensors.QUESTION_DROPS, asset_partitions=["a"]), 9
        ).records
        if record.asset_observation
    ]
    assert versions[0] == versions[2] != versions[1]


def test_a_drop_that_is_gone_is_told_and_its_shard_stays(inbox: Inbox) -> None:
    drop = inbox.put("a.jsonl", "1")
    inbox.tick()
    drop.unlink()
    assert inbox.tick() == []
    assert "the drop of question_shard 'a' is gone" in inbox.warnings[0]
    assert "how to take a shard out" in inbox.warnings[0]
    assert inbox.shards == ["a"]


def test_the_same_drop_under_two_names_is_registered_once(inbox: Inbox) -> None:
    first = inbox.put("a.jsonl", "same")
    inbox.put("b.jsonl", "same")
    assert shards_of(inbox.tick()) == ["a"]
    assert inbox.tick() == []
    assert inbox.warnings == [
        "b.jsonl has the same content as the drop of question_shard 'a' and is not registered as "
        "'b'. Remove one of the two."
    ]
    first.unlink()
    assert inbox.tick() == []
    assert "was it renamed? Give it its old name 'a' back" in inbox.warnings[0]
    assert inbox.shards == ["a"]


def test_a_drop_that_changes_into_another_one_is_read_again(inbox: Inbox) -> None:
    inbox.put("a.jsonl", "1")
    inbox.put("b.jsonl", "2")
    inbox.tick()
    inbox.put("b.jsonl", "1")
    assert shards_of(inbox.tick()) == ["b"]


def test_two_ticks_at_once_ask_for_the_same_run(inbox: Inbox) -> None:
    for name in "abc":
        inbox.put(f"{name}.jsonl", name)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: inbox.look(), range(2))
    assert isinstance(one, dg.SensorResult) and isinstance(other, dg.SensorResult)
    # Dagster runs one run of each key, and a partition that is there is not added again.
    assert inbox.carry_out(one) == inbox.carry_out(other)
    assert inbox.shards == ["a", "b", "c"]
    assert inbox.tick() == []


def test_a_daemon_that_dies_before_the_run_is_started_asks_for_it_again(inbox: Inbox) -> None:
    inbox.put("a.jsonl", "1")
    result = inbox.look()
    assert isinstance(result, dg.SensorResult)
    for event in result.asset_events:
        inbox.instance.report_runless_asset_event(event)
    inbox.instance.add_dynamic_partitions(QUESTION_SHARD, ["a"])
    keys = [request.run_key for request in result.run_requests or []]
    assert inbox.tick() == keys


def test_a_shard_that_was_registered_by_hand_is_read_when_its_drop_is_seen(inbox: Inbox) -> None:
    inbox.instance.add_dynamic_partitions(QUESTION_SHARD, ["a"])
    inbox.put("a.jsonl", "1")
    inbox.tick()
    assert shards_of(inbox.tick()) == ["a"]


def test_a_missing_inbox_is_a_reason_to_skip(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, inbox=str(tmp_path / "nowhere"))
    result = inbox.look()
    assert isinstance(result, dg.SkipReason)
    assert "no such folder. Put question drops" in str(result.skip_message)


LARGE = "0123456789" * 4


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Where pieces of files were read; a file of more than 8 bytes is a large one."""
    hash_piece, pieces = file_contents._hash_piece, list[tuple[str, int]]()

    def counted(file: Path, start: int) -> str:
        pieces.append((file.name, start))
        return hash_piece(file, start)

    monkeypatch.setattr(file_contents, "_hash_piece", counted)
    monkeypatch.setattr(file_contents, "PIECE_BYTES", 8)
    return pieces


def test_a_large_drop_that_is_copied_again_is_no_change(
    inbox: Inbox, read: list[tuple[str, int]]
) -> None:
    first = inbox.put("a.jsonl", LARGE)
    assert shards_of(inbox.tick()) == ["a"]
    inbox.put("copy.tmp", LARGE).replace(first)  # another time, another inode
    assert inbox.tick() == []
    n_pieces = len(read)
    assert inbox.tick() == [] and len(read) == n_pieces  # and this, too, is remembered
    inbox.put("a.jsonl", LARGE.replace("01234567890", "01234x67890", 1))
    assert shards_of(inbox.tick()) == ["a"]
    inbox.put("b.jsonl", LARGE)
    inbox.put("c.jsonl", LARGE)
    assert shards_of(inbox.tick()) == ["b"]
    n_pieces = len(read)
    assert inbox.tick() == [] and len(read) == n_pieces
    assert "c.jsonl has the same content as the drop of question_shard 'b'" in inbox.warnings[0]


def test_another_file_of_the_same_size_and_time_is_seen(inbox: Inbox) -> None:
    first = inbox.put("a.jsonl", "one")
    inbox.tick()
    other = inbox.put("copy.tmp", "two")
    os.utime(other, ns=(first.stat().st_atime_ns, first.stat().st_mtime_ns))
    other.replace(first)
    assert shards_of(inbox.tick()) == ["a"]


def test_a_large_drop_is_read_once_over_several_ticks(
    inbox: Inbox, read: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "BYTES_A_TICK", 16)
    inbox.put("a.jsonl", LARGE)
    inbox.put("b/one.jsonl", "small")
    inbox.put("b/two.jsonl", "as well")
    ticks = [shards_of(inbox.tick()) for _ in range(2)]
    assert ticks == [[], []] and len(read) == 4
    assert inbox.warnings[0].startswith("a.jsonl, b: not read to the end yet")
    assert [*shards_of(inbox.tick()), *shards_of(inbox.tick())] == ["a", "b"]
    assert read == [
        *(("a.jsonl", start) for start in range(0, 40, 8)), ("one.jsonl", 0), ("two.jsonl", 0)
    ]  # fmt: skip
    assert not file_contents._hashed


def test_without_a_sensor_a_large_drop_is_read_at_once(
    inbox: Inbox, read: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "BYTES_A_TICK", 16)
    inbox.put("a.jsonl", LARGE)
    assert sensors.register_drops(inbox.instance, inbox.profile).new == ["a"]
    assert len(read) == 5


def test_without_a_sensor_the_drops_are_registered_in_the_same_way(inbox: Inbox) -> None:
    inbox.put("a.jsonl", "1")
    inbox.put("b.jsonl", "1")
    changes = sensors.register_drops(inbox.instance, inbox.profile)
    assert (changes.new, inbox.shards) == (["a"], ["a"])
    assert "b.jsonl has the same content" in changes.warnings[0]
    assert isinstance(sensors.seen_drops(inbox.instance)["a"], Seen)
    assert sensors.register_drops(inbox.instance, inbox.profile).new == []


def test_an_object_stores_prefix_is_an_inbox(tmp_path: Path) -> None:
    place = inbox_at("memory://bucket/inbox")
    place.mkdir(parents=True)
    try:
        inbox = Inbox(tmp_path, inbox="memory://bucket/inbox")
        (place / "a.jsonl").write_text("1")
        (place / "b").mkdir()
        (place / "b" / "part.jsonl").write_text("2")
        assert shards_of(inbox.tick()) == ["a", "b"]
        assert inbox.tick() == []
        (place / "b" / "part.jsonl").write_text("3")
        assert shards_of(inbox.tick()) == ["b"]
    finally:
        place.fs.rm(place.path, recursive=True)  # type: ignore[attr-defined]
