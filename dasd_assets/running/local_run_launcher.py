"""Runs on one machine: processes that start with their libraries imported, noticed when killed.

Dagster's own launcher hears of a killed run from the code server that started it. If both are
killed, as when a machine is switched off, the run would stay "started" for ever, keep its pool's
slot and keep its backfill from ending.
"""

from __future__ import annotations

from typing import Any

import dagster as dg

from dasd_assets.dagster_internals import (
    GRPC_INFO_TAG,
    health_of_worker,
    is_code_of_this_environment,
)
from dasd_assets.running import local_run
from dasd_assets.running.process_identity import Presence, ProcessIdentity, identity_from

KILLED = "the process that ran it was killed"
UNKNOWN = "whether the process that runs it is still there cannot be seen from here"


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
            Whether it will be at its end; False if its process cannot be reached from here.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or GRPC_INFO_TAG in run.tags:
            return super().terminate(run_id)
        noted = process_of(self._instance, run)
        if noted and noted.presence() == Presence.UNKNOWN:
            self._instance.report_engine_event(
                f"Not cancelled: its process is {noted.pid} on {noted.host}, which cannot be "
                f"reached from here. Interrupt it there: kill -INT {noted.pid}",
                run,
            )
            return False
        self._instance.report_run_canceling(run)
        # If it noted itself only now, it may have looked too early to see that it is cancelled.
        noted = process_of(self._instance, run)
        if noted and noted.presence() == Presence.RUNNING:
            noted.interrupt()
        elif noted:
            self._instance.report_run_canceled(run)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Yes: the process of a run has noted which one it is."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> Any:
        """Whether the process that executes a run still is there.

        Dagster's run monitoring fails a run whose worker's health is unknown as it fails a killed
        one. What cannot be known is therefore told as running, with the reason: the run then is
        left to its own end, to its time limit (`max_runtime_seconds`), or to a person.
        """
        presence = presence_of(self._instance, run)
        if presence == Presence.GONE:
            return health_of_worker(is_there=False, message=KILLED)
        reason = UNKNOWN if presence == Presence.UNKNOWN else None
        return health_of_worker(is_there=True, message=reason)


def process_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> ProcessIdentity | None:
    """The process that noted to execute a run (`local_run.note_process`); None if none did.

    A server's own runs (`grpc_server`) have a number in their events, which says nothing here.
    """
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        metadata = entry.get_dagster_event().engine_event_data.metadata
        texts = {name: str(value.value) for name, value in metadata.items()}
        if noted := identity_from(texts):
            return noted
    return None


def presence_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Presence:
    """Whether the process of a run still is there; unknown if none noted to be it."""
    noted = process_of(instance, run)
    return noted.presence() if noted else Presence.UNKNOWN


def end_killed_runs(instance: dg.DagsterInstance) -> int:
    """Mark runs whose process was killed as failed and give back the pool slots they hold.

    Runs of other machines that share Dagster's records are left alone: theirs to know.

    Returns:
        How many there were; 0 where runs are not launched on this machine.
    """
    if not isinstance(instance.run_launcher, dg.DefaultRunLauncher):
        return 0
    started = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    gone = [run for run in started if presence_of(instance, run) == Presence.GONE]
    return sum(fail_if_unfinished(instance, run.run_id, KILLED) for run in gone)


def fail_if_unfinished(instance: dg.DagsterInstance, run_id: str, reason: str) -> bool:
    """Mark a run whose process is gone as failed and give back its pool slots.

    Returns:
        Whether it was to be: a process may have ended just after its run did.
    """
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return False
    instance.report_run_failed(run, reason)
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    return True
