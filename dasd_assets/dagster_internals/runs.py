"""Jobs, runs, steps, backfills and the daemon, as other processes have them."""

from __future__ import annotations

import json
import logging
import sys
import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import dagster as dg

# A job that other processes can load, from a repository: `dg.reconstructable` takes functions that
# return a job, and such a job has another origin than the runs of the UI.
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository

# What a run's events can hold beside a message. `report_engine_event` is documented to take it.
from dagster._core.events import EngineEventData

# Steps that are started by something else (dagster-ray's handler) and watched.
from dagster._core.executor.step_delegating import StepDelegatingExecutor

# What run monitoring expects of a launcher; `dg.DefaultRunLauncher` is documented, this is not.
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus

# Whether a run's code is this environment's or a server's, and which location of the UI has it.
from dagster._core.remote_origin import (
    LoadableTargetOrigin,
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

# How the process of a run executes it; `dg.execute_job` makes a new run.
from dagster._grpc.impl import core_execute_run

# Has a signal to such a process end its steps in order.
from dagster._utils.interrupts import capture_interrupts as capture_interrupts

from dasd_assets.dagster_internals.views import Subset

IMPORTED_BY_A_RUN: Final = ("dagster._utils.test",)
"""What Dagster imports when a run loads its job: seconds, for a process that has not got it yet."""

GRPC_INFO_TAG: Final = ".dagster/grpc_info"
"""Tag of a run that a code server executes."""


def _as_recorded(value: Mapping[str, Any]) -> Any:
    """An object as Dagster's records spell it: every release reads that, wherever its class is."""
    return dg.deserialize_value(json.dumps(value))


_TRIED_AGAIN: Final = _as_recorded({"__enum__": "RetryMode.ENABLED"})
"""Steps are tried again as their asset says; an executor has to be told."""


def start_backfill(
    instance: dg.DagsterInstance,
    subsets: Iterable[Subset],
    title: str,
    description: str,
    tags: Mapping[str, str],
) -> str:
    """Ask the daemon to make these partitions in runs with these tags; the backfill's id."""
    # Documented are the UI and GraphQL, which need a webserver. Imported when it is used: half a
    # second that loading the definitions would pay for.
    from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
    from dagster._core.execution.backfill import PartitionBackfill

    backfill = PartitionBackfill.from_asset_graph_subset(
        backfill_id=uuid.uuid4().hex[:8],
        backfill_timestamp=time.time(),
        tags=dict(tags),
        dynamic_partitions_store=instance,
        asset_graph_subset=AssetGraphSubset.from_entity_subsets(subsets),
        title=title,
        description=description,
        run_config=None,
    )
    instance.add_backfill(backfill)
    return backfill.backfill_id


def job_of_module(module: str, job: str) -> ReconstructableJob:
    """A job of the definitions `defs` of a module, for runs in other processes."""
    return ReconstructableRepository.for_module(module, "defs").get_reconstructable_job(job)


def origin_in_ui(module: str, location: str, job: ReconstructableJob) -> RemoteJobOrigin:
    """Where the UI finds the code of a run: without it, the run is not on the Timeline.

    Args:
        location: name of the code location in the workspace.
    """
    code = ManagedGrpcPythonEnvCodeLocationOrigin(
        LoadableTargetOrigin(executable_path=sys.executable, module_name=module), location
    )
    name = job.repository.get_definition().name
    return RemoteRepositoryOrigin(code, name).get_job_origin(job.job_name)


def job_of_file(file: Path, job: str) -> ReconstructableJob:
    """A job of the definitions `defs` of a file that is no module."""
    return ReconstructableRepository.for_file(str(file), "defs").get_reconstructable_job(job)


def job_of_run(run: dg.DagsterRun) -> ReconstructableJob | None:
    """The job of a run, from where its code is; none if the run does not say where."""
    origin = run.job_code_origin
    if origin is None:
        return None
    code = origin.repository_origin
    repository = ReconstructableRepository(
        code.code_pointer, code.container_image, code.executable_path, code.entry_point,
        code.container_context,
    )  # fmt: skip
    return repository.get_reconstructable_job(origin.job_name)


def checks_of_job(job: dg.JobDefinition, checks: Collection[dg.AssetCheckKey]) -> dg.JobDefinition:
    """Only these checks of a job, without what they check. Documented selections take assets."""
    return job.get_subset(asset_selection=set(), asset_check_selection=set(checks))


def execute_run(job: ReconstructableJob, run: dg.DagsterRun, instance: dg.DagsterInstance) -> None:
    """Execute a run in this process. What goes wrong is in its events before it is raised."""
    for _ in core_execute_run(job, run, instance, inject_env_vars=False):
        pass


def engine_event(run: dg.DagsterRun, message: str, texts: Mapping[str, str]) -> dg.DagsterEvent:
    """An event of a run that is none of its steps', with texts by name."""
    kind = dg.DagsterEventType.ENGINE_EVENT.value
    return dg.DagsterEvent(
        kind, run.job_name, message=message, event_specific_data=EngineEventData(texts)
    )


def health_of_worker(is_there: bool, message: str | None = None) -> CheckRunHealthResult:
    """What a launcher tells run monitoring of the process of a run."""
    status = WorkerStatus.RUNNING if is_there else WorkerStatus.FAILED
    return CheckRunHealthResult(status, message)


def is_code_of_this_environment(run: dg.DagsterRun) -> bool:
    """Whether a run's code is in this Python environment, not behind a server's address."""
    origin = run.remote_job_origin
    return origin is not None and isinstance(
        origin.repository_origin.code_location_origin, ManagedGrpcPythonEnvCodeLocationOrigin
    )


def steps_started_by(
    handler: Any, max_concurrent: int | None, seconds_between_health_checks: int
) -> StepDelegatingExecutor:
    """An executor whose steps a handler (of dagster-ray) starts elsewhere and looks after."""
    return StepDelegatingExecutor(
        handler,
        retries=_TRIED_AGAIN,
        max_concurrent=max_concurrent,
        check_step_health_interval_seconds=seconds_between_health_checks,
        # A second job for a step would take the first one's start for its own and end at once.
        should_verify_step=False,
    )


def step_failed(step_context: Any, why: str) -> dg.DagsterEvent:
    """The event that a step failed, for a reason that needs no traceback."""
    error: dict[str, Any] = {
        "__class__": "SerializableErrorInfo",
        "message": why,
        "stack": [],
        "cls_name": None,
    }
    failure = {"__class__": "StepFailureData", "error": error, "user_failure_data": None}
    return dg.DagsterEvent.step_failure_event(step_context, _as_recorded(failure))


def monitor_run(instance: dg.DagsterInstance, record: dg.RunRecord) -> None:
    """One look of the daemon's run monitoring at a run that has started."""
    from dagster._daemon.monitoring.run_monitoring import monitor_started_run

    no_workspace: Any = None  # is asked only where a run is to be started again
    monitor_started_run(instance, no_workspace, record, logging.getLogger(__name__))


def run_daemon(seconds_between_looks: int) -> None:
    """`dagster-daemon`, looking for work this often instead of every 30 seconds: tests cannot wait.

    Its arguments are those of the process.
    """
    from dagster._daemon import cli, controller

    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = seconds_between_looks
    cli.main()
