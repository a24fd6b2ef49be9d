"""Bring a pipeline up to date on one machine, through Dagster's own runs and executor.

What is missing or stale is Dagster's own answer (code versions and data versions); each piece of
work is an ordinary Dagster run of one partition with the multiprocess executor, stored in the
persistent instance, so that the UI shows it like any other run. For more than one machine, use
Dagster's daemon and backfills instead.
"""

from __future__ import annotations

import sys
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dagster as dg

from dasd_assets.dagster_internals import AssetGraph, job_of_module, origin_in_ui
from dasd_assets.declaring.check_outcomes import UNFINISHED, Unmet, not_passed, unmet
from dasd_assets.declaring.out_of_date import Staleness
from dasd_assets.declaring.pools import CURATION_POOL, take_turns
from dasd_assets.declaring.up_to_date import report_changes, standings
from dasd_assets.running import run_process
from dasd_assets.running.cores import has_room, usable_cores
from dasd_assets.running.local_run_launcher import fail_if_unfinished
from dasd_assets.running.run_errors import errors_of
from resources.compute.declared import CPUS, gpus_here
from resources.compute.gpus import gpus_present
from resources.lake.lake import Lake

DEFINITIONS_MODULE = "dasd_assets.definitions"
ALL_ASSETS_JOB = "__ASSET_JOB"

Failed = dict[dg.AssetKey, set[str | None]]
"""Asset -> partitions that were not made because a run failed; `None` if it has none."""

RUN_CONFIG = {
    "execution": {"config": {"max_concurrent": 1}},
    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
}
"""Steps of one run follow each other; runs of different partitions go side by side."""

INVOCATION_TAG = "dasd/invocation"
STAGE_TAG = "stage"
"""The asset groups that a run makes something of."""
LOCATION = "dasd"
"""The code location in workspace.yaml."""


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


@dataclass(frozen=True)
class _Running:
    work: Work
    run: dg.DagsterRun
    process: BaseProcess


class SelectionError(ValueError):
    """Text that selects no asset."""


class LocalRunner:
    """Finds what is out of date and runs it, partition by partition."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        lake: Lake,
        workers: int | None,
        log_file: Path,
        selection: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare to bring everything, or a selection of it, up to date.

        Args:
            instance: persistent instance of the pipeline.
            lake: what was made so far.
            workers: runs that go on at the same time, if the machine has the cores that they
                declare; None: as many as it has the cores for.
            log_file: gets what the runs print; the steps' own logs are in the instance.
            selection: in Dagster's selection syntax, such as `+key:divergence_sample`; empty: all.
            tags: of every run, beside its `stage`.

        Raises:
            SelectionError: it selects nothing.
        """
        self._instance = instance
        self._lake = lake
        self._workers = workers
        self._log_file = log_file
        self.invocation = uuid.uuid4().hex
        self._tags = {**(tags or {}), INVOCATION_TAG: self.invocation}
        self.graph = all_assets_job().get_definition().asset_layer.asset_graph
        self._selected = selected_assets(selection, self.graph)

    def groups(self) -> list[list[dg.AssetKey]]:
        """Assets in topological order, those of one partitioning together where they can be.

        One run can make several assets of one partition; assets that are partitioned otherwise
        need runs of their own, after everything above them is finished. So do those whose models
        take turns on the GPUs: else each partition would have them loaded anew.
        """
        groups: list[list[dg.AssetKey]] = []
        gpus = gpus_present()
        place: dict[dg.AssetKey, int] = {}
        for level in self.graph.toposorted_asset_keys_by_level:
            for key in sorted(level):
                node = self.graph.get(key)
                if not node.is_materializable or key not in self._selected:
                    continue
                earliest = 0
                for parent in node.parent_keys & place.keys():
                    apart = self.graph.get(parent).partitions_def != node.partitions_def
                    earliest = max(earliest, place[parent] + (1 if apart else 0))
                fitting = (
                    index
                    for index in range(earliest, len(groups))
                    if self.graph.get(groups[index][0]).partitions_def == node.partitions_def
                    and not take_turns(map(self._gpus_of_pool, (*groups[index], key)), gpus)
                )
                place[key] = next(fitting, len(groups))
                if place[key] == len(groups):
                    groups.append([])
                groups[place[key]].append(key)
        return groups

    def models_used(self) -> set[str]:
        """Models as a profile names them that something selected reads or asks."""
        found = set()
        for key in self.graph.toposorted_asset_keys:
            kind, *name = key.path
            uses = {key, *self.graph.get(key).child_keys} & self._selected
            if uses and kind in ("teacher_model", "base_student"):
                found.add(f"teachers.{name[0]}" if name else kind.removesuffix("_model"))
        return found

    def out_of_date(
        self,
        group: Sequence[dg.AssetKey],
        failed: Failed | None = None,
        staleness: Staleness | None = None,
    ) -> list[Work]:
        """Runs that would bring a group up to date, given that everything above it is.

        What a blocking check has not passed is made and checked again, else the groups below would
        be made of it after all.

        Args:
            failed: but for these; what cannot be made without them is left out, and added.
            staleness: a look at how all stands, if nothing was made since.
        """
        failed = {} if failed is None else failed
        staleness = staleness or self._look()
        found = staleness.out_of_date(group)
        stale: dict[dg.AssetKey, set[str | None]] = {}
        unchecked = not_passed(self.graph, self._instance, group, staleness.latest)
        for asset in (key for key in self.graph.toposorted_asset_keys if key in group):
            failed.setdefault(asset, set()).update(staleness.below(asset, failed))
            stale[asset] = (found.partitions(asset) | unchecked[asset]) - failed[asset]
        partitions_def = self.graph.get(group[0]).partitions_def
        keys: Sequence[str | None] = [None]
        if partitions_def is not None:
            keys = partitions_def.get_partition_keys(dynamic_partitions_store=self._instance)
        works = (Work(tuple(key for key in group if one in stale[key]), one) for one in keys)
        return [work for work in works if work.assets]

    def run(
        self, on_plan: Callable[[list[Work]], None], on_end: Callable[[Outcome], None]
    ) -> list[Outcome]:
        """Run everything that is out of date.

        Each run has a process of its own. Dagster sets up Python's logging anew for a run, which
        two threads must not do at once; and what kills a process, as the kernel does for want of
        memory, ends that run alone.

        A failed partition does not stop the others. What is below it is not tried before it is
        mended, but for the samples, which are drawn from the shards that are ready (unless the
        profile requires all of them) and whose check `shards_ready` names the others.

        Returns:
            The runs that failed.
        """
        failures: list[Outcome] = []
        failed: Failed = {}
        staleness: Staleness | None = None
        for group in self.groups():
            staleness = staleness or self._look()
            todo = self.out_of_date(group, failed, staleness)
            if todo:
                staleness = None  # of what was, before these are made
            on_plan(todo)
            ended = self._run_group(todo, self._at_once(group), on_end)
            for outcome in ended:
                if outcome.errors:
                    failures.append(outcome)
                    for key in outcome.work.assets:
                        failed.setdefault(key, set()).add(outcome.work.partition_key)
        return failures

    def tell_how_it_stands(
        self, check: Callable[[set[dg.AssetKey]], None] | None = None
    ) -> list[Unmet]:
        """Say of each asset what is stale and not checked, where the UI shows it.

        Args:
            check: runs the checks of assets that are due. It is given the selected ones of which a
                check was to look at what is there and did not come to its end.

        Returns:
            The checks that do not hold.
        """
        staleness = self._look()
        every = set(self.graph.get_all_asset_keys())
        outcomes = staleness.check_outcomes(every)
        unfinished = {one.key.asset_key for one in outcomes if one.status in UNFINISHED}
        if check and (due := unfinished & self._selected):
            check(due)
            staleness = self._look()
            outcomes = staleness.check_outcomes(every)
        found = unmet(outcomes)
        report_changes(self._instance, standings(staleness, self.graph, found))
        return found

    def _look(self) -> Staleness:
        return Staleness(self.graph, self._instance, self._lake)

    def _run_group(
        self, todo: Iterable[Work], at_once: int, on_end: Callable[[Outcome], None]
    ) -> list[Outcome]:
        waiting = deque(todo)
        running: list[_Running] = []
        outcomes: list[Outcome] = []
        try:
            while True:
                while waiting and len(running) < at_once and self._has_room(waiting[0], running):
                    running.append(self._start(waiting.popleft()))
                if not running:
                    return outcomes
                over = connection.wait([one.process.sentinel for one in running])
                for one in [one for one in running if one.process.sentinel in over]:
                    outcomes.append(self._outcome(one))
                    on_end(outcomes[-1])
                    running.remove(one)
        finally:  # of Ctrl-C the runs hear too, and note that they were interrupted
            for one in running:
                one.process.join()

    def _start(self, work: Work) -> _Running:
        job = all_assets_job()
        definition = job.get_definition()
        groups = dict.fromkeys(self.graph.get(key).group_name for key in work.assets)
        tags = {**self._tags, STAGE_TAG: ", ".join(groups)}
        if work.partition_key is not None:
            tags |= definition.get_tags_for_partition_key(
                work.partition_key, selected_asset_keys=set(work.assets)
            )
        run = self._instance.create_run_for_job(
            definition, run_config=RUN_CONFIG, tags=tags, asset_selection=set(work.assets),
            job_code_origin=job.get_python_origin(),
            remote_job_origin=origin_in_ui(DEFINITIONS_MODULE, LOCATION, job),
        )  # fmt: skip
        return _Running(work, run, run_process.start(self._instance, run, self._log_file))

    def _outcome(self, ended: _Running) -> Outcome:
        run_id = ended.run.run_id
        reason = run_process.how_it_ended(ended.process, self._log_file)
        if fail_if_unfinished(self._instance, run_id, reason):
            return Outcome(ended.work, run_id, (reason,))
        return Outcome(ended.work, run_id, errors_of(self._instance, run_id))

    def _has_room(self, work: Work, running: Sequence[_Running]) -> bool:
        return has_room([self._cpus(one.work) for one in running], self._cpus(work), usable_cores())

    def _gpus_of_pool(self, key: dg.AssetKey) -> tuple[str, int]:
        """The pool of an asset's steps, and the GPUs of one."""
        node = self.graph.get(key)
        pool = next(iter(node.pools or ()), key.to_user_string())
        return pool, gpus_here(node.metadata)

    def _cpus(self, work: Work) -> float:
        """Cores that a run declares: its steps follow each other, so those of the largest."""
        return max(float(self.graph.get(key).metadata.get(CPUS, 1)) for key in work.assets)

    def _at_once(self, group: Sequence[dg.AssetKey]) -> int:
        """Runs of a group that go side by side: one where their order decides what they make."""
        in_order = any(CURATION_POOL in (self.graph.get(key).pools or ()) for key in group)
        return 1 if in_order else self._workers or sys.maxsize


def selected_assets(selection: str, graph: AssetGraph) -> AbstractSet[dg.AssetKey]:
    """The assets that a text in Dagster's selection syntax selects; all by the empty one.

    Raises:
        SelectionError: it selects none.
    """
    if not selection:
        return graph.materializable_asset_keys
    try:
        found = dg.AssetSelection.from_string(selection).resolve(graph)
    except dg.DagsterError:
        found = set()
    if not found:
        raise SelectionError(
            f"--select {selection}: selects no asset. Write `key:NAME`, `+key:NAME` (with all "
            "above it) or `group:NAME`; `dasd docs reference/assets` has the names"
        )
    return found


@cache
def all_assets_job() -> Any:
    """The job of all assets, as another process can load it too."""
    return job_of_module(DEFINITIONS_MODULE, ALL_ASSETS_JOB)
