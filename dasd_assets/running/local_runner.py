"""Bring a pipeline up to date on one machine, through Dagster's own runs and executor.

What is missing or stale is Dagster's own answer (code versions and data versions); each piece of
work is an ordinary Dagster run of one partition with the multiprocess executor, stored in the
persistent instance, so that the UI shows it like any other run. For more than one machine, use
Dagster's daemon and backfills instead.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg

from dasd_assets.dagster_internals import AssetGraph, job_of_module
from dasd_assets.declaring.out_of_date import Staleness
from dasd_assets.declaring.pools import CURATION_POOL
from dasd_assets.running import local_run

DEFINITIONS_MODULE = "dasd_assets.definitions"
ALL_ASSETS_JOB = "__ASSET_JOB"

RUN_CONFIG = {
    "execution": {"config": {"max_concurrent": 1}},
    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
}
"""Steps of one run follow each other; runs of different partitions go side by side."""

INVOCATION_TAG = "dasd/invocation"


@dataclass(frozen=True)
class Work:
    """One run: assets that share a partitioning, and the partition to make."""

    assets: tuple[dg.AssetKey, ...]
    partition_key: str | None

    def __str__(self) -> str:
        names = ", ".join(key.to_user_string() for key in self.assets)
        return f"{names} [{self.partition_key}]" if self.partition_key else names


@dataclass(frozen=True)
class Outcome:
    """How one run ended; `errors` is empty if it succeeded."""

    work: Work
    run_id: str
    errors: tuple[str, ...]


class SelectionError(ValueError):
    """Text that selects no asset."""


class LocalRunner:
    """Finds what is out of date and runs it, partition by partition."""

    def __init__(
        self, instance: dg.DagsterInstance, workers: int, log_file: Path, selection: str = ""
    ) -> None:
        """Prepare to bring everything, or a selection of it, up to date.

        Args:
            instance: persistent instance of the pipeline.
            workers: runs that go on at the same time.
            log_file: gets what the workers print; the steps' own logs are in the instance.
            selection: in Dagster's selection syntax, such as `+key:divergence_sample`; empty: all.

        Raises:
            SelectionError: it selects nothing.
        """
        self._instance = instance
        self._workers = workers
        self._log_file = log_file
        self.invocation = uuid.uuid4().hex
        self._graph = _all_assets_job().get_definition().asset_layer.asset_graph
        self._selected = _selected(selection, self._graph)

    def groups(self) -> list[list[dg.AssetKey]]:
        """Assets in topological order, those of one partitioning together where they can be.

        One run can make several assets of one partition; assets that are partitioned otherwise
        need runs of their own, after everything above them is finished.
        """
        groups: list[list[dg.AssetKey]] = []
        place: dict[dg.AssetKey, int] = {}
        for level in self._graph.toposorted_asset_keys_by_level:
            for key in sorted(level):
                node = self._graph.get(key)
                if not node.is_materializable or key not in self._selected:
                    continue
                earliest = 0
                for parent in node.parent_keys & place.keys():
                    apart = self._graph.get(parent).partitions_def != node.partitions_def
                    earliest = max(earliest, place[parent] + (1 if apart else 0))
                fitting = (
                    index
                    for index in range(earliest, len(groups))
                    if self._graph.get(groups[index][0]).partitions_def == node.partitions_def
                )
                place[key] = next(fitting, len(groups))
                if place[key] == len(groups):
                    groups.append([])
                groups[place[key]].append(key)
        return groups

    def out_of_date(self, group: Sequence[dg.AssetKey]) -> list[Work]:
        """Runs that would bring a group up to date, given that everything above it is."""
        found = Staleness(self._graph, self._instance).out_of_date(group)
        stale = {asset: found.partitions(asset) for asset in group}
        partitions_def = self._graph.get(group[0]).partitions_def
        keys: Sequence[str | None] = [None]
        if partitions_def is not None:
            keys = partitions_def.get_partition_keys(dynamic_partitions_store=self._instance)
        works = (Work(tuple(key for key in group if one in stale[key]), one) for one in keys)
        return [work for work in works if work.assets]

    def run(
        self, on_plan: Callable[[list[Work]], None], on_end: Callable[[Outcome], None]
    ) -> list[Outcome]:
        """Run everything that is out of date.

        A failed partition does not stop the other partitions of its group, but nothing below the
        group is tried before it is mended: a training set must not silently lack a shard.

        Returns:
            The runs that failed.
        """
        # Processes, not threads: Dagster sets up Python's logging anew for each run, which two
        # threads must not do at once.
        with ProcessPoolExecutor(
            self._workers,
            mp_context=local_run.forking(),
            initializer=_start_worker,
            initargs=(self._log_file,),
        ) as pool:
            for group in self.groups():
                todo = self.out_of_date(group)
                on_plan(todo)
                failures = self._run_group(pool, todo, self._at_once(group), on_end)
                if failures:
                    return failures
        return []

    def _run_group(
        self, pool: Executor, todo: Iterable[Work], at_once: int, on_end: Callable[[Outcome], None]
    ) -> list[Outcome]:
        waiting = iter(todo)

        def start(n: int) -> set[Future[Outcome]]:
            return {pool.submit(_execute, work, self.invocation) for work in islice(waiting, n)}

        failures: list[Outcome] = []
        pending = start(at_once)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                outcome = future.result()
                on_end(outcome)
                failures += [outcome] if outcome.errors else []
            pending |= start(len(done))
        return failures

    def _at_once(self, group: Sequence[dg.AssetKey]) -> int:
        """Runs of a group that go side by side: one where their order decides what they make."""
        in_order = any(CURATION_POOL in (self._graph.get(key).pools or ()) for key in group)
        return 1 if in_order else self._workers


def _selected(selection: str, graph: AssetGraph) -> AbstractSet[dg.AssetKey]:
    if not selection:
        return graph.materializable_asset_keys
    try:
        found = dg.AssetSelection.from_string(selection).resolve(graph)
    except dg.DagsterError:
        found = set()
    if not found:
        raise SelectionError(
            f"--select {selection}: selects no asset. Write `key:NAME`, `+key:NAME` (with all "
            "above it) or `group:NAME`; the names are in docs/reference/assets.md"
        )
    return found


def _start_worker(log_file: Path) -> None:
    """Send what a worker and its steps print to a file, and let them end with the command."""
    with log_file.open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    local_run.end_steps_with_this_process()
    threading.Thread(target=_end_with_the_command, daemon=True).start()


def _end_with_the_command() -> None:
    command = multiprocessing.parent_process()
    assert command is not None
    command.join()
    os._exit(1)


@cache
def _all_assets_job() -> Any:
    return job_of_module(DEFINITIONS_MODULE, ALL_ASSETS_JOB)


def _execute(work: Work, invocation: str) -> Outcome:
    """Make one piece of work in a Dagster run, in a worker process."""
    job = _all_assets_job()
    keys = set(work.assets)
    tags = {INVOCATION_TAG: invocation}
    if work.partition_key is not None:
        tags |= job.get_definition().get_tags_for_partition_key(
            work.partition_key, selected_asset_keys=keys
        )
    with dg.DagsterInstance.get() as instance:
        result = dg.execute_job(
            job, instance, run_config=RUN_CONFIG, tags=tags, asset_selection=list(work.assets)
        )
        failures = [event for event in result.all_events if event.is_failure]
        # The run's own failure says again what its steps have said.
        of_steps = [event for event in failures if event.step_key] or failures
        errors = tuple(dict.fromkeys(map(cause_of, of_steps)))
        return Outcome(work, result.run_id, () if result.success else errors or ("failed",))


def cause_of(event: dg.DagsterEvent) -> str:
    """What went wrong in one failure event: the first error inside Dagster's own wrapping.

    Errors of this project say what to do; the library's error that one was raised from does not.
    """
    error = getattr(event.event_specific_data, "error", None)
    while error is not None and error.cause is not None and _is_dagsters(error):
        error = error.cause
    step = f"{event.step_key}: " if event.step_key else ""
    return step + (error.message.strip() if error else event.message or "failed")


def _is_dagsters(error: Any) -> bool:
    return (error.cls_name or "").startswith("Dagster")
