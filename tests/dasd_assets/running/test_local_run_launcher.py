"""A run whose process is gone is noticed, whatever became of its number; a run can be ended.

Runs that are started, and cancelled while they run, by the real daemon: test_backfills.py.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dagster as dg
import psutil
import pytest
from support.daemon import until

from dasd_assets.dagster_internals import GRPC_INFO_TAG, engine_event, monitor_run
from dasd_assets.running import local_run, local_run_launcher, process_identity
from dasd_assets.running.local_executor import local_executor
from dasd_assets.running.local_run_launcher import (
    UNKNOWN,
    LocalRunLauncher,
    end_killed_runs,
    process_of,
)
from dasd_assets.running.process_identity import (
    Presence,
    ProcessIdentity,
    identity_from,
    this_process,
)

pytestmark = pytest.mark.slow

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


def started_run(
    instance: dg.DagsterInstance, *processes: ProcessIdentity, seconds_ago: float = 0.0
) -> dg.DagsterRun:
    """A run that noted to be executed by these processes, the first of them its own."""
    run = instance.create_run_for_job(nothing, status=STARTED)
    for process in processes:
        event = engine_event(run, "begins", process.as_texts())
        instance.report_dagster_event(event, run.run_id, timestamp=time.time() - seconds_ago)
    return run


def started_process(program: str) -> tuple["subprocess.Popen[str]", ProcessIdentity]:
    """A process that says who it is and goes on with a program."""
    who = "import signal, time\nfrom dasd_assets.running.process_identity import this_process\n"
    tell = "print(this_process().as_texts(), flush=True)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", who + program.format(tell=tell)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    identity = identity_from(eval(process.stdout.readline()))
    assert identity is not None
    return process, identity


def ended_process() -> ProcessIdentity:
    process, identity = started_process("{tell}")
    process.wait()
    return identity


@contextmanager
def on_another_machine() -> Iterator[None]:
    """What is done meanwhile is done by a second machine that shares Dagster's records."""
    there = replace(this_process(), host="gpu-2", boot_id="another", machine_id="b1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process_identity, "this_process", lambda: there)
        yield


def launcher_of(instance: dg.DagsterInstance) -> LocalRunLauncher:
    launcher = LocalRunLauncher()
    launcher.register_instance(instance)
    return launcher


@pytest.fixture
def launcher(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> LocalRunLauncher:
    """The launcher of the instance, in place of the one that an ephemeral instance has."""
    launcher = launcher_of(instance)
    monkeypatch.setattr(dg.DagsterInstance, "run_launcher", launcher)
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
    assert health(instance, started_run(instance, this_process(), gone)) == "RUNNING"
    assert health(instance, started_run(instance, gone)) == "FAILED"


def test_a_run_that_noted_no_process_or_a_number_alone_is_left_alone(
    instance: dg.DagsterInstance,
) -> None:
    assert health(instance, started_run(instance)) == "RUNNING"
    run = started_run(instance)  # as a server of its own notes it, maybe on another machine
    noted = engine_event(run, "begins", {"pid": str(ended_process().pid)})
    instance.report_dagster_event(noted, run.run_id)
    assert health(instance, run) == "RUNNING"


def test_a_number_that_another_process_got_later_is_not_the_runs(
    instance: dg.DagsterInstance,
) -> None:
    earlier = replace(this_process(), start_ticks=this_process().start_ticks - 1)
    assert health(instance, started_run(instance, earlier)) == "FAILED"


def test_a_clock_that_was_set_kills_no_run(instance: dg.DagsterInstance) -> None:
    """The kernel reckons when a process started from the clock, as it is now."""
    before_its_start = time.time() - psutil.Process().create_time() + 3_600
    run = started_run(instance, this_process(), seconds_ago=before_its_start)
    assert health(instance, run) == "RUNNING"


def test_another_machine_leaves_a_run_its_slots_and_its_process_alone(
    instance: dg.DagsterInstance, launcher: LocalRunLauncher
) -> None:
    alive, killed = started_run(instance, this_process()), started_run(instance, ended_process())
    with on_another_machine():
        assert end_killed_runs(instance) == 0
        found = launcher.check_run_worker_health(killed)
        assert (found.status.name, found.msg) == ("RUNNING", UNKNOWN)
        assert not launcher.terminate(alive.run_id)
    assert {status(instance, run) for run in (alive, killed)} == {STARTED}
    told = [entry.message for entry in instance.all_logs(alive.run_id)]
    pid, host = this_process().pid, this_process().host
    assert f"its process is {pid} on {host}" in told[-1]
    assert f"kill -INT {pid}" in told[-1]
    assert end_killed_runs(instance) == 1  # on its own machine it is known


@pytest.mark.usefixtures("launcher")
def test_the_daemon_of_another_machine_ends_a_run_only_for_its_time_limit(
    instance: dg.DagsterInstance,
) -> None:
    run = started_run(instance, ended_process())

    def monitor() -> dg.DagsterRunStatus:
        record = instance.get_run_record_by_id(run.run_id)
        assert record is not None
        record = record._replace(start_time=time.time() - 60)
        monitor_run(instance, record)
        return status(instance, run)

    with on_another_machine():
        assert monitor() == STARTED
        instance.add_run_tags(run.run_id, {"dagster/max_runtime": "59"})
        assert monitor() == dg.DagsterRunStatus.FAILURE


@pytest.mark.usefixtures("launcher")
def test_a_run_that_ended_while_it_was_looked_for_is_not_failed(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started_run(instance, ended_process())

    def looked(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Presence:
        instance.report_dagster_event(
            dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, run.job_name), run.run_id
        )
        return Presence.GONE

    monkeypatch.setattr(local_run_launcher, "presence_of", looked)
    assert end_killed_runs(instance) == 0
    assert status(instance, run) == dg.DagsterRunStatus.SUCCESS


@pytest.mark.usefixtures("launcher")
def test_killed_runs_are_failed_and_the_others_left(instance: dg.DagsterInstance) -> None:
    killed, alive = started_run(instance, ended_process()), started_run(instance, this_process())
    assert end_killed_runs(instance) == 1
    assert status(instance, killed) == dg.DagsterRunStatus.FAILURE
    assert instance.get_runs(dg.RunsFilter(statuses=[STARTED])) == [
        instance.get_run_by_id(alive.run_id)
    ]


def test_a_cancelled_run_is_interrupted_as_by_the_keyboard(instance: dg.DagsterInstance) -> None:
    # Whoever started the tests may have had the keyboard ignored.
    process, identity = started_process(
        "signal.signal(signal.SIGINT, signal.SIG_DFL)\n{tell}time.sleep(600)"
    )
    run = started_run(instance, identity)
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
        assert health(instance, run) == "RUNNING"
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: not step.is_running(), 30)
        assert health(instance, run) == "FAILED"


def test_a_run_of_a_server_is_ended_by_it(instance: dg.DagsterInstance) -> None:
    run = started_run(instance)
    instance.add_run_tags(run.run_id, {GRPC_INFO_TAG: '{"host": "localhost", "port": 1}'})
    with pytest.raises(dg.DagsterError, match="reach user code server"):
        launcher_of(instance).terminate(run.run_id)
