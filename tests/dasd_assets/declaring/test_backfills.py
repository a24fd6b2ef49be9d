"""Backfills by the real daemon: GPUs are never asked for twice, and nothing is lost or done twice.

The steps hold pretended GPUs for a moment and do nothing else (tests/support/gpu_location.py).
"""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest
from support.daemon import until
from support.machine import GPUS, SAMPLED, SCORED, Machine, cells

pytestmark = [pytest.mark.slow, pytest.mark.deployment("daemon")]

SHARDS = [f"s{number}" for number in range(3)]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("machine"), SHARDS)
    machine.daemon.start()
    try:
        yield machine
    finally:
        machine.daemon.kill()
        machine.instance.dispose()


def test_a_rectangle_is_made_once_and_no_gpu_is_asked_for_twice(machine: Machine) -> None:
    rectangle = cells(SHARDS[:2], "low", "high")
    assert machine.wait_for(machine.backfill([SAMPLED, SCORED], rectangle)) == ("COMPLETED_SUCCESS")
    assert machine.made() == {(a, cell): 1 for a in ("sampled", "scored") for cell in rectangle}
    assert 2 <= machine.most_in_use() <= GPUS
    assert all(len(line["devices"]) == line["gpus"] for line in machine.held())
    assert machine.used_twice() == []


def test_what_failed_is_retried_alone_after_a_killed_daemon(machine: Machine) -> None:
    before = machine.made()
    column = cells(SHARDS, "high")
    (machine.folder / "fail").write_text("s1|high", encoding="utf-8")
    (machine.folder / "seconds").write_text("0.5", encoding="utf-8")
    backfill = machine.backfill([SAMPLED], column)
    until(lambda: machine.made() != before)
    machine.daemon.kill()
    machine.daemon.start()
    assert machine.wait_for(backfill) == "COMPLETED_FAILED"
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
    assert machine.wait_for(retried) == "COMPLETED_SUCCESS"
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
            machine.status(backfill) == "REQUESTED"
            and bool(machine.instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill})))
        )
    )
    found = machine.instance.get_backfill(backfill)
    assert found is not None
    machine.instance.update_backfill(found.with_status(type(found.status)["CANCELING"]))
    assert machine.wait_for(backfill) == "CANCELED"
    (machine.folder / "seconds").unlink()
    done = {key for (asset, key), n in (machine.made() - before).items() if asset == "scored" and n}
    rest = sorted(set(column) - done)
    assert rest
    assert machine.wait_for(machine.backfill([SCORED], rest)) == "COMPLETED_SUCCESS"
    assert set(column) <= machine.instance.get_materialized_partitions(SCORED)


def test_partitions_that_do_not_exist_are_refused(machine: Machine) -> None:
    before = machine.made()
    backfill = machine.backfill([SAMPLED], ["nowhere|low"])
    assert machine.wait_for(backfill) in ("FAILED", "CANCELED")
    assert machine.made() == before
