"""All that this project takes from inside Dagster: mend it here when a release moves something.

What Dagster documents (`dagster as dg`) is used where it is needed. Behind an underscore Dagster
promises nothing from one release to the next, so only this module imports from there (ruff: TID251)
and says for each name why what is documented does not do. Here that is functions in our words;
`Any` stands for Dagster's own undocumented classes. `make newest-dagster` tries this module against
the newest release that pyproject.toml allows.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final, TypeAlias

import dagster as dg
from packaging.requirements import Requirement

DISTRIBUTION: Final = "dasd-dagster"


class DagsterReleaseError(ImportError):
    """The Dagster that is installed is outside the range that this project is made for."""


def require_release(found: str, declared: Iterable[str]) -> None:
    """Refuse a release of Dagster that no check of this project has seen.

    Args:
        found: version that is imported.
        declared: requirements of the project, as its package's metadata has them.

    Raises:
        DagsterReleaseError: saying what is installed and what to install.
    """
    for requirement in map(Requirement, declared):
        if requirement.name == "dagster" and not requirement.specifier.contains(found):
            raise DagsterReleaseError(
                f"Dagster {found} is installed, {DISTRIBUTION} is made for dagster"
                f"{requirement.specifier}. Install one of these (uv pip install "
                f"'{requirement}'), or widen the range in pyproject.toml and mend "
                "dasd_assets/dagster_internals.py until `make newest-dagster` passes."
            )


def _declared() -> list[str]:
    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:  # a checkout that is not installed declares nothing
        return []


# Before what is below is imported: there, another release may fail with words that help nobody.
require_release(dg.__version__, _declared())

# Which partitions of one asset belong to which of another, and the algebra of such sets: documented
# is only the mapping of single keys, by a partition mapping that one has to find oneself.
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView, TemporalContext

# The UI's "Unsynced", and why. Documented is only its picture.
from dagster._core.definitions.data_version import CachingStaleStatusResolver

# A job that other processes can load, from a repository: `dg.reconstructable` takes functions that
# return a job, and such a job has another origin than the runs of the UI.
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository

# What a run's events can hold beside a message. `report_engine_event` is documented to take it.
from dagster._core.events import EngineEventData

# How a step that cannot start is failed without failing the other steps of its run.
from dagster._core.execution.plan.objects import SerializableErrorInfo, StepFailureData

# That steps are tried again as their asset says; the executors below have to be told.
from dagster._core.execution.retries import RetryMode

# Steps that are started by something else (dagster-ray's handler) and watched.
from dagster._core.executor.step_delegating import StepDelegatingExecutor

# What run monitoring expects of a launcher; `dg.DefaultRunLauncher` is documented, this is not.
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus

# Whether a run's code is this environment's or a server's.
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin

# How the process of a run executes it; `dg.execute_job` makes a new run.
from dagster._grpc.impl import core_execute_run

# Has a signal to such a process end its steps in order.
from dagster._utils.interrupts import capture_interrupts as capture_interrupts

IMPORTED_BY_A_RUN: Final = ("dagster._utils.test",)
"""What Dagster imports when a run loads its job: seconds, for a process that has not got it yet."""

GRPC_INFO_TAG: Final = ".dagster/grpc_info"
"""Tag of a run that a code server executes."""

AssetGraph: TypeAlias = Any
"""`context.repository_def.asset_graph`, `Definitions.resolve_asset_graph()`."""
Subset: TypeAlias = Any
"""Partitions of one asset, as a `GraphView` has them."""
GraphView = AssetGraphView


def graph_view(graph: AssetGraph, instance: dg.DagsterInstance) -> GraphView:
    """The assets' partitions as they are now, each of them looked up once."""
    return AssetGraphView(
        temporal_context=TemporalContext(
            effective_dt=datetime.now(UTC),
            last_event_id=instance.event_log_storage.get_maximum_record_id(),
        ),
        instance=instance,
        asset_graph=graph,
    )


def subset_of(view: GraphView, key: dg.AssetKey, keys: Collection[str | None]) -> Subset:
    """Some partitions of an asset; `None` is the one of an asset without partitions."""
    partitions_def = view.asset_graph.get(key).partitions_def
    if partitions_def is not None:
        return view.get_subset_from_partition_keys(key, partitions_def, {*map(str, keys)})
    return view.get_full_subset(key=key) if keys else view.get_empty_subset(key=key)


def keys_of(subset: Subset) -> set[str | None]:
    """Partition keys of a subset; `None` for an asset without partitions."""
    if subset.is_partitioned:
        return set(subset.expensively_compute_partition_keys())
    return set() if subset.is_empty else {None}


async def on_its_way(view: GraphView, key: dg.AssetKey) -> Subset:
    """Partitions of an asset in a run or backfill, or made and not yet judged (blocking checks)."""
    # Documented are conditions of the nearest inputs; there is none that looks further up.
    all_of_it = view.get_full_subset(key=key)
    found = await view.compute_run_in_progress_subset(key=key, from_subset=all_of_it)
    backfill = await view.compute_backfill_in_progress_subset(key=key, from_subset=all_of_it)
    found = found.compute_union(backfill)
    for check in view.asset_graph.get_check_keys_for_assets({key}):
        if view.asset_graph.get(check).blocking:
            judged = await view.compute_run_in_progress_subset(
                key=check, from_subset=view.get_full_subset(key=check)
            )
            found = found.compute_union(judged.compute_mapped_subset(key, direction="up"))
    return found


def stale_resolver(view: GraphView) -> CachingStaleStatusResolver:
    """Says of a partition whether it is up to date, asking storage for the same thing once."""
    queryer = view.get_inner_queryer_for_back_compat()
    queryer.prefetch_asset_records(view.asset_graph.materializable_asset_keys)
    return CachingStaleStatusResolver(view.instance, view.asset_graph, view, queryer)


def start_backfill(
    instance: dg.DagsterInstance, subsets: Iterable[Subset], title: str, description: str
) -> str:
    """Ask the daemon to make these partitions; the backfill's id."""
    # Documented are the UI and GraphQL, which need a webserver. Imported when it is used: half a
    # second that loading the definitions would pay for.
    from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
    from dagster._core.execution.backfill import PartitionBackfill

    backfill = PartitionBackfill.from_asset_graph_subset(
        backfill_id=uuid.uuid4().hex[:8],
        backfill_timestamp=time.time(),
        tags={},
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
        retries=RetryMode.ENABLED,
        max_concurrent=max_concurrent,
        check_step_health_interval_seconds=seconds_between_health_checks,
        # A second job for a step would take the first one's start for its own and end at once.
        should_verify_step=False,
    )


def step_failed(step_context: Any, why: str) -> dg.DagsterEvent:
    """The event that a step failed, for a reason that needs no traceback."""
    error = SerializableErrorInfo(why, [], None)
    return dg.DagsterEvent.step_failure_event(step_context, StepFailureData(error, None))


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
