"""`dasd status`: what is there, what is stale, missing or failed, on one screen."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
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

    from dasd_assets.declaring.check_outcomes import Unmet
    from dasd_assets.declaring.out_of_date import Staleness
    from resources.lake.lake import Lake

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
        unchecked: blocking check -> partitions on which it was not run, as after a cancelled run.
        causes: partition key -> why it is stale.
        damage: partition key -> files of the lake that are gone or damaged, with what is wrong.
    """

    asset: str
    partitions: dict[str, str]
    last_run: str | None
    last_run_status: str | None
    last_run_time: float | None
    failing_checks: dict[str, int]
    causes: dict[str, str] = field(default_factory=dict)
    damage: dict[str, list[str]] = field(default_factory=dict)
    unchecked: dict[str, int] = field(default_factory=dict)

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

    Stale is Dagster's own answer, by code and data versions, as `dasd run` asks it; and what is
    gone from the lake, has another size than it was written with, or was changed since. Ends with
    exit code 1 if a partition has failed, or something is gone or damaged.
    """
    import dagster as dg

    from dasd_assets.profile.open_lake import open_lake

    with refusing(ProfileError, UnknownAssetError):
        profile, _ = prepare()
        with dg.DagsterInstance.get() as instance:
            found = statuses(instance, open_lake(profile), asset)
            waiting = _not_registered(profile, instance)
    if as_json:
        named = [{**asdict(one), "counts": one.counts} for one in found]
        typer.echo(json.dumps({"assets": named, "drops_not_registered": waiting}, indent=1))
    elif asset:
        _print_partitions(found[0])
    else:
        _print_assets(found)
        if why := profile.no_mixed_policy:
            typer.echo(f"\nstage 3 is left out: {why}")
        if waiting:
            typer.echo(
                f"\nin the inbox, not registered yet: {', '.join(waiting)} (`dasd run` does it)"
            )
    for one in found:
        for partition, problems in one.damage.items():
            for problem in problems:
                where = f"{one.asset} [{partition}]" if partition else one.asset
                typer.secho(f"{where}: {problem}", fg=typer.colors.RED, err=True)
    if any(one.counts[FAILED] or one.damage for one in found):
        raise typer.Exit(EXIT_FAILED)


def statuses(
    instance: dg.DagsterInstance, lake: Lake, only: str | None = None
) -> list[AssetStatus]:
    """Status of all assets of the graph in topological order, or of one.

    Raises:
        UnknownAssetError: there is no asset of that name.
    """
    import dagster as dg

    from dasd_assets.declaring.check_outcomes import unmet
    from dasd_assets.declaring.out_of_date import Staleness
    from dasd_assets.definitions import defs

    graph = defs.resolve_asset_graph()
    keys = [key for level in graph.toposorted_asset_keys_by_level for key in sorted(level)]
    names = [key.to_user_string() for key in keys]
    if only is not None and only not in names:
        raise UnknownAssetError(f"no asset {only!r}; there are {', '.join(names)}")
    staleness = Staleness(graph, instance, lake)
    shown = [key for key, name in zip(keys, names, strict=True) if only in (None, name)]
    # All at once: one command is not to ask storage some fifty times for each of these.
    staleness.latest.load(key for key in shown if graph.get(key).is_materializable)
    run_ids = {*staleness.latest.attempts().values(), *map(staleness.latest.last_run, shown)}
    asked = [run_id for run_id in run_ids if run_id]
    found = instance.get_run_records(dg.RunsFilter(run_ids=asked)) if asked else []
    runs = {record.dagster_run.run_id: record for record in found}
    with staleness.loading():
        checks = unmet(staleness.check_outcomes(set(shown)))
        return [_status(staleness, graph, key, runs, checks) for key in shown]


def _status(
    staleness: Staleness,
    graph: Any,
    key: dg.AssetKey,
    runs: Mapping[str, dg.RunRecord],
    checks: list[Unmet],
) -> AssetStatus:
    partitions_def = graph.get(key).partitions_def
    keys: list[str | None] = [None]
    if partitions_def is not None:
        keys = list(partitions_def.get_partition_keys())
    attempts, last_run = staleness.latest.attempts(), staleness.latest.last_run(key)
    run = runs.get(last_run or "")
    partitions, causes, damage = {}, {}, {}
    for partition in keys:
        name = str(partition or "")
        partitions[name] = staleness.state(key, partition).value
        if partitions[name] == STALE:
            reasons = (cause.reason for cause in staleness.causes(key, partition))
            causes[name] = "; ".join(dict.fromkeys(reasons))
        if problems := staleness.damage(key, partition):
            damage[name] = problems
        attempt = runs.get(attempts.get((key, partition), ""))  # none of a run that was deleted
        if attempt is not None and not attempt.dagster_run.is_finished:
            partitions[name] = RUNNING
        elif attempt is not None and attempt.dagster_run.is_failure:
            partitions[name] = FAILED
    own = [one for one in checks if one.asset == key]
    blocking = {
        each.name for each in graph.get_check_keys_for_assets({key}) if graph.get(each).blocking
    }
    return AssetStatus(
        key.to_user_string(), partitions,
        last_run,
        run.dagster_run.status.value.lower() if run else None,
        run.update_timestamp.timestamp() if run else None,
        {name: one.n_partitions for one in own if one.fails for name in one.checks}, causes, damage,
        {name: one.n_partitions for one in own if not one.fails
         for name in one.checks if name in blocking},
    )  # fmt: skip


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
        told = [f"{name} ({n})" for name, n in one.failing_checks.items()]
        told += [f"{name} ({n} not run: `dasd check`)" for name, n in one.unchecked.items()]
        checks = ", ".join(told)
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
