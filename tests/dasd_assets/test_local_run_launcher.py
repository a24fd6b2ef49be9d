"""A run whose process is gone is noticed, whatever became of the process's number."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.launcher import WorkerStatus

from dasd_assets.local_run_launcher import LocalRunLauncher, end_killed_runs

STARTED = dg.DagsterRunStatus.STARTED


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


def started_run(instance: dg.DagsterInstance, *pids: int, step: str | None = None) -> dg.DagsterRun:
    """A run that noted to be executed by these processes, the first of them its own."""
    run = instance.create_run_for_job(dg.job(name="nothing")(lambda: None), status=STARTED)
    for pid in pids:
        instance.report_engine_event("begins", run, EngineEventData.in_process(pid), step_key=step)
    return run


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def health(instance: dg.DagsterInstance, run: dg.DagsterRun) -> WorkerStatus:
    launcher = LocalRunLauncher()
    launcher.register_instance(instance)
    assert launcher.supports_check_run_worker_health
    return launcher.check_run_worker_health(run).status


def test_a_run_is_alive_as_long_as_its_own_process(instance: dg.DagsterInstance) -> None:
    gone = ended_process()
    assert health(instance, started_run(instance, os.getpid(), gone)) == WorkerStatus.RUNNING
    assert health(instance, started_run(instance, gone)) == WorkerStatus.FAILED


def test_a_run_that_named_no_process_or_only_a_steps_is_left_alone(
    instance: dg.DagsterInstance,
) -> None:
    assert health(instance, started_run(instance)) == WorkerStatus.RUNNING
    of_step = started_run(instance, ended_process(), step="one")
    assert health(instance, of_step) == WorkerStatus.RUNNING


def test_a_number_that_another_process_got_later_is_not_the_runs(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started_run(instance, os.getpid())
    monkeypatch.setattr("psutil.Process.create_time", lambda process: time.time() + 1)
    assert health(instance, run) == WorkerStatus.FAILED


def test_killed_runs_are_failed_and_the_others_left(instance: dg.DagsterInstance) -> None:
    killed, alive = started_run(instance, ended_process()), started_run(instance, os.getpid())
    launcher = LocalRunLauncher()
    launcher.register_instance(instance)
    instance._run_launcher = launcher
    assert end_killed_runs(instance) == 1
    ended = instance.get_run_by_id(killed.run_id)
    assert ended is not None and ended.status == dg.DagsterRunStatus.FAILURE
    assert instance.get_runs(dg.RunsFilter(statuses=[STARTED])) == [
        instance.get_run_by_id(alive.run_id)
    ]
