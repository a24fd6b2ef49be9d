"""Backfills by the real daemon: GPUs are never asked for twice, and nothing is lost or done twice.

The steps hold pretended GPUs for a moment and do nothing else (tests/support/gpu_location.py).
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from support.daemon import Daemon, until
from support.gpu_location import defs

from dasd_assets.pools import set_pool_limits

GPUS = 3
SHARDS = [f"s{number}" for number in range(3)]
SAMPLED, SCORED = dg.AssetKey("sampled"), dg.AssetKey("scored")
DONE = (
    BulkActionStatus.COMPLETED_SUCCESS, BulkActionStatus.COMPLETED_FAILED,
    BulkActionStatus.CANCELED, BulkActionStatus.FAILED,
)  # fmt: skip


class Machine:
    """An instance with a daemon over it, on a machine with three pretended GPUs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemon = Daemon(folder / "home", "support.gpu_location", {"GPU_LOCATION": str(folder)})
        self.instance = dg.DagsterInstance.from_config(str(folder / "home"))
        self.instance.add_dynamic_partitions("question_shard", SHARDS)
        set_pool_limits(self.instance, defs, GPUS)

    def backfill(self, assets: list[dg.AssetKey], partitions: list[str]) -> str:
        backfill = PartitionBackfill.from_asset_partitions(
            backfill_id=uuid4().hex[:8], asset_graph=defs.resolve_asset_graph(),
            partition_names=partitions, asset_selection=assets, backfill_timestamp=time.time(),
            tags={}, dynamic_partitions_store=self.instance, all_partitions=False, title=None,
            description=None, run_config=None,
        )  # fmt: skip
        self.instance.add_backfill(backfill)
        return backfill.backfill_id

    def status(self, backfill_id: str) -> BulkActionStatus:
        backfill = self.instance.get_backfill(backfill_id)
        assert backfill is not None
        return backfill.status

    def wait_for(self, backfill_id: str) -> BulkActionStatus:
        until(lambda: self.status(backfill_id) in DONE)
        return self.status(backfill_id)

    def held(self) -> list[dict[str, Any]]:
        """Who held GPUs from when to when, so far."""
        file = self.folder / "held.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    def made(self) -> Counter[tuple[str, str]]:
        """(asset, partition) -> how often its step ran."""
        return Counter((line["asset"], line["partition"]) for line in self.held())

    def most_in_use(self) -> int:
        """GPUs in use at the same time, at most."""
        changes = [(line["start"], line["gpus"]) for line in self.held()]
        changes += [(line["end"], -line["gpus"]) for line in self.held()]
        in_use = most = 0
        for _, change in sorted(changes):
            in_use += change
            most = max(most, in_use)
        return most


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("machine"))
    machine.daemon.start()
    try:
        yield machine
    finally:
        machine.daemon.kill()
        machine.instance.dispose()


def cells(shards: list[str], *temperatures: str) -> list[str]:
    return [f"{shard}|{temperature}" for shard in shards for temperature in temperatures]


def test_a_rectangle_is_made_once_and_no_gpu_is_asked_for_twice(machine: Machine) -> None:
    rectangle = cells(SHARDS[:2], "low", "high")
    assert machine.wait_for(machine.backfill([SAMPLED, SCORED], rectangle)) == (
        BulkActionStatus.COMPLETED_SUCCESS
    )
    assert machine.made() == {(a, cell): 1 for a in ("sampled", "scored") for cell in rectangle}
    assert 2 <= machine.most_in_use() <= GPUS


def test_what_failed_is_retried_alone_after_a_killed_daemon(machine: Machine) -> None:
    before = machine.made()
    column = cells(SHARDS, "high")
    (machine.folder / "fail").write_text("s1|high", encoding="utf-8")
    (machine.folder / "seconds").write_text("0.5", encoding="utf-8")
    backfill = machine.backfill([SAMPLED], column)
    until(lambda: machine.made() != before)
    machine.daemon.kill()
    machine.daemon.start()
    assert machine.wait_for(backfill) == BulkActionStatus.COMPLETED_FAILED
    made = machine.instance.get_materialized_partitions(SAMPLED)
    assert set(column) <= made  # s1|high was made by the test before
    failed = machine.instance.get_backfill(backfill)
    assert failed is not None and failed.asset_backfill_data is not None
    subset = failed.asset_backfill_data.failed_and_downstream_subset
    missing = {one.partition_key for one in subset.iterate_asset_partitions()}
    assert "s1|high" in missing

    (machine.folder / "fail").unlink()
    before = machine.made()
    retried = machine.backfill([SAMPLED], sorted(key for key in missing if key))
    assert machine.wait_for(retried) == BulkActionStatus.COMPLETED_SUCCESS
    assert set(machine.made() - before) == {("sampled", key) for key in missing}
    assert machine.most_in_use() <= GPUS


def test_a_cancelled_backfill_starts_nothing_more_and_its_rest_can_be_asked_for(
    machine: Machine,
) -> None:
    (machine.folder / "seconds").write_text("2", encoding="utf-8")
    column = cells(SHARDS, "low")
    before = machine.made()
    backfill = machine.backfill([SCORED], column)
    until(
        lambda: (
            machine.status(backfill) == BulkActionStatus.REQUESTED
            and bool(machine.instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill})))
        )
    )
    found = machine.instance.get_backfill(backfill)
    assert found is not None
    machine.instance.update_backfill(found.with_status(BulkActionStatus.CANCELING))
    assert machine.wait_for(backfill) == BulkActionStatus.CANCELED
    (machine.folder / "seconds").unlink()
    done = {key for (asset, key), n in (machine.made() - before).items() if asset == "scored" and n}
    rest = sorted(set(column) - done)
    assert rest
    assert machine.wait_for(machine.backfill([SCORED], rest)) == BulkActionStatus.COMPLETED_SUCCESS
    assert set(column) <= machine.instance.get_materialized_partitions(SCORED)


def test_partitions_that_do_not_exist_are_refused(machine: Machine) -> None:
    before = machine.made()
    backfill = machine.backfill([SAMPLED], ["nowhere|low"])
    assert machine.wait_for(backfill) in (BulkActionStatus.FAILED, BulkActionStatus.CANCELED)
    assert machine.made() == before
