"""A run whose process is gone is noticed, whatever became of its number; a run can be ended.

Runs that are started, and cancelled while they run, by the real daemon: test_backfills.py.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import psutil
import pytest
from support.daemon import until

from dasd_assets.dagster_internals import GRPC_INFO_TAG, report_process
from dasd_assets.running import local_run
from dasd_assets.running.local_executor import local_executor
from dasd_assets.running.local_run_launcher import LocalRunLauncher, end_killed_runs, process_of

STARTED = dg.DagsterRunStatus.STARTED


@dg.job
def nothing() -> None:
    """Has no step."""


START = """
import sys
from dagster import deserialize_value
from dasd_assets.running import local_run
local_run._leave(deserialize_value(sys.argv[1]), sys.argv[2])
"""
"""What the process that runs are forked from does, without the libraries."""


@dg.op(config_schema={"pid_file": str})
def sleeping(context: dg.OpExecutionContext) -> None:
    """Says which process it is and sleeps."""
    Path(context.op_config["pid_file"]).write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(600)


@dg.job(executor_def=local_executor)
def one_sleeping_step() -> None:
    """Has one step."""
    sleeping()


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


def started_run(instance: dg.DagsterInstance, *pids: int, step: str | None = None) -> dg.DagsterRun:
    """A run that noted to be executed by these processes, the first of them its own."""
    run = instance.create_run_for_job(nothing, status=STARTED)
    for pid in pids:
        report_process(instance, run, pid, "begins", step)
    return run


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def launcher_of(instance: dg.DagsterInstance) -> LocalRunLauncher:
    launcher = LocalRunLauncher()
    launcher.register_instance(instance)
    return launcher


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def health(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    launcher = launcher_of(instance)
    assert launcher.supports_check_run_worker_health
    return launcher.check_run_worker_health(run).status.name


def test_a_run_is_alive_as_long_as_its_own_process(instance: dg.DagsterInstance) -> None:
    gone = ended_process()
    assert health(instance, started_run(instance, os.getpid(), gone)) == "RUNNING"
    assert health(instance, started_run(instance, gone)) == "FAILED"


def test_a_run_that_named_no_process_or_only_a_steps_is_left_alone(
    instance: dg.DagsterInstance,
) -> None:
    assert health(instance, started_run(instance)) == "RUNNING"
    of_step = started_run(instance, ended_process(), step="one")
    assert health(instance, of_step) == "RUNNING"


def test_a_number_that_another_process_got_later_is_not_the_runs(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started_run(instance, os.getpid())
    monkeypatch.setattr("psutil.Process.create_time", lambda process: time.time() + 1)
    assert health(instance, run) == "FAILED"


def test_killed_runs_are_failed_and_the_others_left(instance: dg.DagsterInstance) -> None:
    killed, alive = started_run(instance, ended_process()), started_run(instance, os.getpid())
    instance._run_launcher = launcher_of(instance)
    assert end_killed_runs(instance) == 1
    assert status(instance, killed) == dg.DagsterRunStatus.FAILURE
    assert instance.get_runs(dg.RunsFilter(statuses=[STARTED])) == [
        instance.get_run_by_id(alive.run_id)
    ]


def test_a_process_that_nobody_waited_for_is_gone(instance: dg.DagsterInstance) -> None:
    unburied = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, unburied.pid, os.WEXITED | os.WNOWAIT)
    assert health(instance, started_run(instance, unburied.pid)) == "FAILED"
    unburied.wait()


def test_a_cancelled_run_is_interrupted_as_by_the_keyboard(instance: dg.DagsterInstance) -> None:
    # Whoever started the tests may have had the keyboard ignored.
    program = (
        "import signal, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    run = started_run(instance, process.pid)
    assert launcher_of(instance).terminate(run.run_id)
    assert process.wait(30) == -signal.SIGINT
    assert status(instance, run) == dg.DagsterRunStatus.CANCELING


def test_a_cancelled_run_whose_process_is_gone_is_at_its_end(instance: dg.DagsterInstance) -> None:
    run = started_run(instance, ended_process())
    assert launcher_of(instance).terminate(run.run_id)
    assert status(instance, run) == dg.DagsterRunStatus.CANCELED


def test_a_run_that_is_cancelled_before_it_starts_makes_nothing(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run = instance.create_run_for_job(
            nothing, job_code_origin=dg.reconstructable(nothing).get_python_origin(),
            status=dg.DagsterRunStatus.STARTING,
        )  # fmt: skip
        assert launcher_of(instance).terminate(run.run_id)
        assert status(instance, run) == dg.DagsterRunStatus.CANCELING
        local_run.execute(instance.get_ref(), run.run_id)
        assert status(instance, run) == dg.DagsterRunStatus.CANCELED
        assert not instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START)


def test_a_step_ends_with_the_killed_process_of_its_run(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run = instance.create_run_for_job(
            one_sleeping_step,
            job_code_origin=dg.reconstructable(one_sleeping_step).get_python_origin(),
            run_config={"ops": {"sleeping": {"config": {"pid_file": str(pid_file)}}}},
            status=dg.DagsterRunStatus.STARTING,
        )
        ref = dg.serialize_value(instance.get_ref())
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", START, ref, run.run_id]
        subprocess.run(command, env=environment, check=True)
        until(lambda: pid_file.exists() and bool(pid_file.read_text()), 60)
        step = psutil.Process(int(pid_file.read_text()))
        process = process_of(instance, run)
        assert process is not None and process.pid == step.ppid()
        process.kill()
        until(lambda: not step.is_running(), 30)


def test_a_run_of_a_server_is_ended_by_it(instance: dg.DagsterInstance) -> None:
    run = started_run(instance)
    instance.add_run_tags(run.run_id, {GRPC_INFO_TAG: '{"host": "localhost", "port": 1}'})
    with pytest.raises(dg.DagsterError, match="reach user code server"):
        launcher_of(instance).terminate(run.run_id)
