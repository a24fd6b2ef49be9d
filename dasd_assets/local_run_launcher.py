"""Runs on one machine whose killed processes are noticed.

Dagster's own launcher hears of a killed run from the code server that started it. If both are
killed, as when a machine is switched off, the run would stay "started" for ever, keep its pool's
slot and keep its backfill from ending.
"""

from __future__ import annotations

import dagster as dg
import psutil
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus

KILLED = "the process that ran it was killed"


class LocalRunLauncher(dg.DefaultRunLauncher):
    """Dagster's launcher, with the health check that run monitoring asks for."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Yes: the process of a run is on this machine."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the process that executes a run still is there."""
        if was_killed(self._instance, run):
            return CheckRunHealthResult(WorkerStatus.FAILED, KILLED)
        return CheckRunHealthResult(WorkerStatus.RUNNING)


def was_killed(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the process that noted to execute the run is gone, or its number another's now."""
    events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    for entry in events:
        event = entry.get_dagster_event()
        pid = event.engine_event_data.metadata.get("pid")
        # Steps have processes of their own; the first one is the run's.
        if pid is None or event.step_key is not None:
            continue
        try:
            began = psutil.Process(int(str(pid.value))).create_time()
        except psutil.NoSuchProcess:
            return True
        return began > entry.timestamp
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
