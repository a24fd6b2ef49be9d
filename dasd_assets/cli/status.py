"""`dasd status`: what is there, what is stale, missing or failed, on one screen."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dasd_assets.cli.completion import assets
from dasd_assets.cli.exits import EXIT_FAILED, refusing
from dasd_assets.cli.prepare import prepare
from dasd_assets.cli.terminal_table import NOTHING, print_table
from dasd_assets.profile import Profile, ProfileError

if TYPE_CHECKING:
    import dagster as dg

FRESH, STALE, MISSING, FAILED, RUNNING = "up to date", "stale", "missing", "failed", "running"
STATES = (FRESH, STALE, MISSING, FAILED, RUNNING)


class UnknownAssetError(ValueError):
    """No asset of the graph has this name."""


@dataclass(frozen=True)
class AssetStatus:
    """How far one asset is.

    Attributes:
        partitions: partition key -> one of STATES; an unpartitioned asset has the key "".
        last_run: id of the run of the newest materialization or attempt.
        last_run_time: when it was recorded, seconds since 1970.
        failing_checks: check -> partitions in which it fails.
        causes: partition key -> why it is stale.
    """

    asset: str
    partitions: dict[str, str]
    last_run: str | None
    last_run_status: str | None
    last_run_time: float | None
    failing_checks: dict[str, int]
    causes: dict[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """State -> partitions in it."""
        found = Counter(self.partitions.values())
        return {state: found[state] for state in STATES}


def status(
    asset: Annotated[
        str | None,
        typer.Argument(help="Show its partitions that are not up to date.", autocompletion=assets),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show for each asset how many partitions are up to date, stale, missing or failed.

    Stale is Dagster's own answer, by code and data versions, as `dasd run` asks it. Ends with exit
    code 1 if a partition has failed.
    """
    import dagster as dg

    with refusing(ProfileError, UnknownAssetError):
        profile, _ = prepare()
        with dg.DagsterInstance.get() as instance:
            found = statuses(instance, asset)
            waiting = _not_registered(profile, instance)
    if as_json:
        named = [{**asdict(one), "counts": one.counts} for one in found]
        typer.echo(json.dumps({"assets": named, "drops_not_registered": waiting}, indent=1))
    elif asset:
        _print_partitions(found[0])
    else:
        _print_assets(found)
        if waiting:
            typer.echo(
                f"\nin the inbox, not registered yet: {', '.join(waiting)} (`dasd run` does it)"
            )
    if any(one.counts[FAILED] for one in found):
        raise typer.Exit(EXIT_FAILED)


def statuses(instance: dg.DagsterInstance, only: str | None = None) -> list[AssetStatus]:
    """Status of all assets of the graph in topological order, or of one.

    Raises:
        UnknownAssetError: there is no asset of that name.
    """
    import dagster as dg
    from dagster._core.definitions.data_version import CachingStaleStatusResolver

    from dasd_assets.definitions import defs
    from dasd_assets.running.local_runner import Loading

    graph = defs.resolve_asset_graph()
    keys = [key for level in graph.toposorted_asset_keys_by_level for key in sorted(level)]
    names = [key.to_user_string() for key in keys]
    if only is not None and only not in names:
        raise UnknownAssetError(f"no asset {only!r}; there are {', '.join(names)}")
    resolver = CachingStaleStatusResolver(instance, graph, Loading(instance))
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        return [
            _status(instance, resolver, graph, key)
            for key, name in zip(keys, names, strict=True)
            if only in (None, name)
        ]


def _status(instance: dg.DagsterInstance, resolver: Any, graph: Any, key: Any) -> AssetStatus:
    partitions_def = graph.get(key).partitions_def
    record = next(iter(instance.get_asset_records([key])), None)
    failed, running = _attempts(instance, key, partitions_def, record)
    keys: list[str | None] = [None]
    if partitions_def is not None:
        keys = list(partitions_def.get_partition_keys(dynamic_partitions_store=instance))
    partitions, causes = {}, {}
    for partition in keys:
        name = str(partition or "")
        state = resolver.get_status(key, partition).value
        partitions[name] = {"FRESH": FRESH, "STALE": STALE, "MISSING": MISSING}[state]
        if state == "STALE":
            reasons = (cause.reason for cause in resolver.get_stale_causes(key, partition))
            causes[name] = "; ".join(dict.fromkeys(reasons))
        if name in running:
            partitions[name] = RUNNING
        elif name in failed:
            partitions[name] = FAILED
    run_id = record.asset_entry.last_run_id if record is not None else None
    run = instance.get_run_record_by_id(run_id) if run_id else None
    return AssetStatus(
        key.to_user_string(), partitions, run_id,
        run.dagster_run.status.value.lower() if run else None,
        run.update_timestamp.timestamp() if run else None,
        _failing(instance, graph, key, failed), causes,
    )  # fmt: skip


def _attempts(
    instance: dg.DagsterInstance, key: Any, partitions_def: Any, record: Any
) -> tuple[set[str], set[str]]:
    """Partitions whose last attempt failed, and those that are being made."""
    from dagster._core.storage.partition_status_cache import (
        build_failed_and_in_progress_partition_subset,
        get_last_planned_storage_id,
    )

    if record is None:
        return set(), set()
    entry = record.asset_entry
    if partitions_def is not None:
        failed, running, _ = build_failed_and_in_progress_partition_subset(
            instance, key, partitions_def, get_last_planned_storage_id(instance, key, record)
        )
        return set(failed.get_partition_keys()), set(running.get_partition_keys())
    made = entry.last_materialization_record
    run = instance.get_run_by_id(entry.last_run_id) if entry.last_run_id else None
    if run is None or (made is not None and made.run_id == run.run_id):
        return set(), set()
    if run.is_finished:
        return ({""} if run.is_failure else set()), set()
    return set(), {""}


def _failing(
    instance: dg.DagsterInstance, graph: Any, key: Any, failed: set[str]
) -> dict[str, int]:
    """Check -> partitions in which it fails, without those that failed before they were checked."""
    from dagster._core.storage.asset_check_execution_record import (
        AssetCheckExecutionResolvedStatus as Status,
    )

    checks = {
        check: graph.get(check).partitions_def for check in graph.get_check_keys_for_assets({key})
    }
    states = instance.event_log_storage.get_asset_check_state(list(checks.items()))
    failing = {}
    for check in checks:
        state = states.get(check)
        subsets = state.subsets if state else {}
        found = _names(subsets.get(Status.FAILED))
        found |= _names(subsets.get(Status.EXECUTION_FAILED)) - failed
        if found:
            failing[check.name] = len(found)
    return failing


def _names(subset: Any) -> set[str]:
    """Partition keys of an entity subset; that of an unpartitioned one is the empty text."""
    if subset is None or subset.is_empty:
        return set()
    return set(subset.subset_value.get_partition_keys()) if subset.is_partitioned else {""}


def _not_registered(profile: Profile, instance: dg.DagsterInstance) -> list[str]:
    from dasd_assets.partitions import QUESTION_SHARD
    from dasd_assets.questions.inbox.listing import InboxError, inbox_at, list_inbox

    try:
        drops = list_inbox(inbox_at(profile.questions.inbox)).drops
    except InboxError:
        return []
    known = set(instance.get_dynamic_partitions(QUESTION_SHARD))
    return [name for name in drops if name not in known]


def _print_assets(found: list[AssetStatus]) -> None:
    rows = []
    for one in found:
        checks = ", ".join(f"{name} ({n})" for name, n in one.failing_checks.items())
        counts = (str(n) if n else "" for n in one.counts.values())
        last = NOTHING
        if one.last_run_time:
            last = datetime.fromtimestamp(one.last_run_time).strftime("%m-%d %H:%M")
            last += "" if one.last_run_status == "success" else f" {one.last_run_status}"
        rows.append((one.asset, *counts, last, checks))
    headers = ("asset", *STATES, "last run", "checks that fail (partitions)")
    print_table(headers, rows, left=(0, 6, 7), folded=(7,))


def _print_partitions(one: AssetStatus) -> None:
    rows = [
        (key or NOTHING, state, one.causes.get(key, ""))
        for key, state in one.partitions.items()
        if state != FRESH
    ]
    if rows:
        print_table(("partition", "state", "because"), rows, left=(0, 1, 2), folded=(0, 2))
    n = len(one.partitions)
    typer.echo(f"{one.asset}: {one.counts[FRESH]} of {n} partition(s) up to date")
    for name, count in one.failing_checks.items():
        typer.echo(f"check {name} fails in {count} partition(s)")
