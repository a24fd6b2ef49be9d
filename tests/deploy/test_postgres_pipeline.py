"""The pipeline itself with its records in PostgreSQL: the sensor, and what `dasd` says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from support.daemon import Daemon, until
from support.pipeline import new_pipeline
from support.postgres import PASSWORD, PostgresServer

pytestmark = [pytest.mark.slow, pytest.mark.deployment("postgres-pipeline")]

Use = Callable[[PostgresServer], dict[str, str]]


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
