"""deploy/postgres/dagster.yaml on a real PostgreSQL server: sensor, backfill, kills, restore."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import dagster as dg
import psutil
import pytest
from support.daemon import Daemon, until
from support.machine import DONE, SAMPLED, SCORED, Machine, cells
from support.object_store import ENVIRONMENT, ObjectStore
from support.pipeline import new_pipeline
from support.postgres import PASSWORD, PostgresServer

from dasd_assets.running.local_run_launcher import process_of
from dasd_assets.running.process_identity import Presence

pytestmark = pytest.mark.slow

SHARDS = [f"s{number:02}" for number in range(15)]
BUCKET = "step-output"
RUNS_AT_ONCE = 8
"""`max_concurrent_runs` of the dagster.yaml."""
PATIENCE = 800
OUTAGE_SECONDS = 30
"""Longer than Dagster by itself tries to connect, about 12 seconds."""
GPUS = 8
"""Four slots of the pool `student`."""

Use = Callable[[PostgresServer], dict[str, str]]


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    store = ObjectStore()
    store.client().create_bucket(Bucket=BUCKET)
    yield store
    store.close()


@pytest.fixture
def use(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Use:
    """Sets and returns what the dagster.yaml reads, for a server."""

    def set_environment(server: PostgresServer) -> dict[str, str]:
        variables = {
            **server.environment, **ENVIRONMENT, "AWS_ENDPOINT_URL": store.url,
            "DAGSTER_LOGS_BUCKET": BUCKET, "DAGSTER_LOGS_PREFIX": "logs",
            "GPU_LOCATION_IN_PROCESS": "1",
        }  # fmt: skip
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return variables

    return set_environment


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.close()


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
    assert [key for key in store.keys(BUCKET) if key.startswith("logs/")]


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


def test_the_sensor_reads_a_drop_and_dasd_says_what_there_is(
    server: PostgresServer, use: Use, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    pipeline = new_pipeline(tmp_path)
    pipeline.put_drop("drop-01", 0, n=6)
    an_hour_ago = (pipeline.inbox / "drop-01.jsonl").stat().st_mtime - 3_600
    os.utime(pipeline.inbox / "drop-01.jsonl", (an_hour_ago, an_hour_ago))
    use(server)
    for name, value in pipeline.environment.items():
        monkeypatch.setenv(name, value)
    home = pipeline.home / "dagster"
    pipeline.home.mkdir()
    daemon = Daemon(home, "dasd_assets.definitions", pipeline.environment, "postgres")
    program = Path(sys.executable).with_name("dagster")
    switched_on = subprocess.run(
        [program, "sensor", "start", "new_question_drops", "-m", "dasd_assets.definitions"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert switched_on.returncode == 0, switched_on.stderr
    daemon.start()
    try:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            questions = dg.AssetKey("questions")
            until(lambda: instance.get_materialized_partitions(questions) == {"drop-01"})
            (run,) = instance.get_runs()
            # Automation conditions see by it that the questions are not to be made once more.
            assert run.asset_selection == {dg.AssetKey("raw_questions"), questions}
    finally:
        daemon.kill(signal.SIGTERM)
    told = pipeline.dasd("status", "questions")
    assert "questions: 1 of 1 partition(s) up to date" in told.stdout, told.stderr

    server.stop()
    away = pipeline.dasd("status")
    server.start()
    assert away.returncode == 1
    assert "PostgreSQL, which keeps Dagster's records" in away.stderr
    assert "give the command again; what was finished is kept" in away.stderr
    assert PASSWORD not in away.stderr
    monkeypatch.delenv("DAGSTER_PG_PASSWORD")
    unset = pipeline.dasd("status")
    assert unset.returncode == 1
    assert "environment variables that are not set: DAGSTER_PG_PASSWORD" in unset.stderr
