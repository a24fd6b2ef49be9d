"""Runs on one machine: processes that start with their libraries imported, noticed when killed.

Dagster's own launcher hears of a killed run from the code server that started it. If both are
killed, as when a machine is switched off, the run would stay "started" for ever, keep its pool's
slot and keep its backfill from ending.
"""

from __future__ import annotations

import signal
from typing import Any

import dagster as dg
import psutil

from dasd_assets.dagster_internals import (
    GRPC_INFO_TAG,
    is_code_of_this_environment,
    run_process_is_there,
)
from dasd_assets.running import local_run

KILLED = "the process that ran it was killed"


class LocalRunLauncher(dg.DefaultRunLauncher):
    """Starts runs on this machine, and tells run monitoring whether they still are there.

    Code that a server of its own serves (`grpc_server` in the workspace) runs there, as Dagster's
    launcher has it: its libraries, settings and files may be others.
    """

    def launch_run(self, context: Any) -> None:
        """Start the process of a run whose code is in this Python environment."""
        if is_code_of_this_environment(context.dagster_run):
            local_run.start(self._instance, context.dagster_run)
        else:
            super().launch_run(context)

    def terminate(self, run_id: str) -> bool:
        """Ask the process of a run to end; it ends its steps' first.

        Returns:
            Whether there was one to ask.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or GRPC_INFO_TAG in run.tags:
            return super().terminate(run_id)
        self._instance.report_run_canceling(run)
        try:
            process = process_of(self._instance, run)
            if process is not None:  # else it sees as it starts that it is cancelled
                process.send_signal(signal.SIGINT)
        except psutil.NoSuchProcess:
            self._instance.report_run_canceled(run)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Yes: the process of a run is on this machine."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> Any:
        """Whether the process that executes a run still is there."""
        return run_process_is_there(KILLED if was_killed(self._instance, run) else None)


def process_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> psutil.Process | None:
    """The process that noted to execute a run; none if none did yet.

    Raises:
        psutil.NoSuchProcess: it is gone, or its number is another's now.
    """
    events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    for entry in events:
        event = entry.get_dagster_event()
        pid = event.engine_event_data.metadata.get("pid")
        # Steps have processes of their own; the first one is the run's.
        if pid is None or event.step_key is not None:
            continue
        process = psutil.Process(int(str(pid.value)))
        # In a container nobody may be there to ask how a process ended.
        unburied = process.status() == psutil.STATUS_ZOMBIE
        if unburied or process.create_time() > entry.timestamp:
            raise psutil.NoSuchProcess(process.pid)
        return process
    return None


def was_killed(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the process that noted to execute a run is gone."""
    try:
        process_of(instance, run)
    except psutil.NoSuchProcess:
        return True
    return False


def end_killed_runs(instance: dg.DagsterInstance) -> int:
    """Mark runs whose process was killed as failed and give back the pool slots they hold.

    Returns:
        How many there were; 0 where runs are not launched on this machine.
    """
    if not isinstance(instance.run_launcher, dg.DefaultRunLauncher):
        return 0
    started = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    killed = [run for run in started if was_killed(instance, run)]
    for run in killed:
        instance.report_run_failed(run, KILLED)
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return len(killed)
