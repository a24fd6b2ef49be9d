"""deploy/postgres/dagster.yaml on a real PostgreSQL server: backfill, kills, outage, restore."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import dagster as dg
import psutil
import pytest
from support.daemon import until
from support.machine import DONE, SAMPLED, SCORED, Machine, cells
from support.object_store import ObjectStore
from support.postgres import LOGS_BUCKET, PASSWORD, PostgresServer

from dasd_assets.running.local_run_launcher import process_of
from dasd_assets.running.process_identity import Presence

pytestmark = [pytest.mark.slow, pytest.mark.deployment("postgres")]

SHARDS = [f"s{number:02}" for number in range(15)]
RUNS_AT_ONCE = 8
"""`max_concurrent_runs` of the dagster.yaml."""
PATIENCE = 800
OUTAGE_SECONDS = 30
"""Longer than Dagster by itself tries to connect, about 12 seconds."""
GPUS = 8
"""Four slots of the pool `student`."""

Use = Callable[[PostgresServer], dict[str, str]]


def processes_of_runs(instance: dg.DagsterInstance) -> list[psutil.Process]:
    """Processes that execute runs now."""
    processes = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        noted = process_of(instance, run)
        with suppress(psutil.NoSuchProcess):
            if noted and noted.presence() == Presence.RUNNING:
                processes.append(psutil.Process(noted.pid))
    return processes


def finished(instance: dg.DagsterInstance) -> set[str]:
    """Partitions whose run ended well; one that was made by a run that did not is made again."""
    runs = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))
    return {run.tags["dagster/partition"] for run in runs}


def starting(instance: dg.DagsterInstance) -> bool:
    return bool(instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING])))


@pytest.mark.timeout(1_800)
def test_thirty_partitions_are_right_after_kills_and_an_outage_of_the_database(
    server: PostgresServer, use: Use, store: ObjectStore, tmp_path: Path
) -> None:
    machine = Machine(tmp_path, SHARDS, "postgres", use(server), GPUS)
    machine.daemon.start()
    wanted = cells(SHARDS, "low", "high")
    try:
        backfill = machine.backfill([SCORED], wanted)

        until(lambda: len(machine.made()) >= 5 and bool(processes_of_runs(machine.instance)))
        processes_of_runs(machine.instance)[0].kill()

        until(lambda: len(machine.made()) >= 10)
        machine.daemon.kill()
        machine.daemon.start()

        until(lambda: len(machine.made()) >= 15)
        server.stop()
        assert len(machine.made()) < len(wanted)
        time.sleep(OUTAGE_SECONDS)
        server.start()

        until(machine.daemon.revived(lambda: machine.status(backfill) in DONE), PATIENCE)
        # A run that died after its step cannot be tried again by Dagster: what an operator's
        # "re-execute from failure" asks for.
        missing = set(wanted) - machine.instance.get_materialized_partitions(SCORED)
        assert len(missing) <= 1 + 2 * RUNS_AT_ONCE
        if missing:
            rest = machine.backfill([SCORED], sorted(missing))
            until(machine.daemon.revived(lambda: machine.status(rest) in DONE), PATIENCE)
        assert machine.instance.get_materialized_partitions(SCORED) == set(wanted)
        made = machine.made()
        assert set(made) == {("scored", cell) for cell in wanted}
        # Whoever was killed between its work and its word for it has done it again.
        assert sum(made.values()) - len(wanted) <= 1 + 2 * RUNS_AT_ONCE
        assert machine.most_in_use() <= GPUS
        assert machine.used_twice() == []
        assert PASSWORD not in machine.daemon.log
    finally:
        machine.daemon.kill()
        machine.instance.dispose()
    assert [key for key in store.keys(LOGS_BUCKET) if key.startswith("logs/")]


def test_a_backup_is_restored_on_an_empty_machine_and_its_backfill_goes_on(
    server: PostgresServer, use: Use, tmp_path: Path
) -> None:
    machine = Machine(tmp_path / "old", SHARDS[:5], "postgres", use(server))
    (machine.folder / "seconds").write_text("0.5", encoding="utf-8")
    wanted = cells(SHARDS[:5], "low", "high")
    machine.daemon.start()
    try:
        backfill = machine.backfill([SAMPLED], wanted)
        # One that starts at this moment would be given up after three minutes only.
        until(lambda: len(finished(machine.instance)) >= 3 and not starting(machine.instance))
        # The records first: they then never tell of data that the copy lacks.
        server.dump(tmp_path / "dagster.dump")
        shutil.copytree(machine.folder, tmp_path / "new", ignore=lambda *_: ["home", "locks"])
    finally:
        machine.daemon.kill()
        machine.instance.dispose()

    elsewhere = PostgresServer()
    try:
        elsewhere.restore(tmp_path / "dagster.dump")
        restored = Machine(tmp_path / "new", SHARDS[:5], "postgres", use(elsewhere))
        before = restored.made()
        done = finished(restored.instance)
        assert 3 <= len(done) < len(wanted)
        restored.daemon.start()
        try:
            assert restored.wait_for(backfill) == "COMPLETED_SUCCESS"
            assert restored.instance.get_materialized_partitions(SAMPLED) == set(wanted)
            assert not {cell for _, cell in restored.made() - before} & done
        finally:
            restored.daemon.kill()
            restored.instance.dispose()
    finally:
        elsewhere.close()
