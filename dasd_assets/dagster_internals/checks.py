"""Dagster's records of checks: how the last execution of each one stands, of every partition."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import dagster as dg

from dasd_assets.dagster_internals.records import LatestEvents, events


class CheckStatus(StrEnum):
    """How the last execution of a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    BROKEN = "broken"
    """Its run failed before it came to an end."""
    NOT_RUN = "not run"
    """Its run was cancelled, or is gone from the records, before it came to an end."""
    NOT_MADE = "not made"
    """Its run ended before it made what the check was to look at."""
    UNDER_WAY = "under way"


@dataclass(frozen=True)
class CheckOutcome:
    """One check of one partition, of the data that is there now.

    Attributes:
        partition: `None` of an asset without partitions.
        event: storage id of the last event of the check: an evaluation, if it came to an end.
    """

    key: dg.AssetCheckKey
    partition: str | None
    status: CheckStatus
    event: int


def check_outcomes(
    instance: dg.DagsterInstance, checks: Collection[dg.AssetCheckKey], latest: LatestEvents
) -> list[CheckOutcome]:
    """Of checks that were executed or planned, but not of what was made anew since.

    Dagster's own `get_asset_check_partition_info` makes two queries for each check.

    Args:
        latest: of the assets of these checks.
    """
    found = [row for row in _last_executions(instance, checks) if row["key"] in checks]
    planned = {row["run_id"] for row in found if row["execution_status"] == "PLANNED"}
    found_runs = instance.get_runs(dg.RunsFilter(run_ids=list(planned))) if planned else []
    runs = {run.run_id: run for run in found_runs}
    attempts = latest.attempts() if planned else {}
    outcomes = []
    for row in found:
        asset, partition = row["key"].asset_key, row["partition"]
        made = [one for one in map(latest.made(asset).get, {partition, None}) if one is not None]
        if row["execution_status"] == "PLANNED":
            not_made = attempts.get((asset, partition)) == row["run_id"]
            status = _of_planned(runs.get(row["run_id"]), not_made)
        elif not made or max(made) == row["materialization_event_storage_id"]:
            succeeded = row["execution_status"] == "SUCCEEDED"
            status = CheckStatus.PASSED if succeeded else CheckStatus.FAILED
        else:
            continue
        number = row["evaluation_event_storage_id"]
        outcomes.append(CheckOutcome(row["key"], partition, status, number))
    return outcomes


def evaluations(
    instance: dg.DagsterInstance, outcomes: Collection[CheckOutcome]
) -> Mapping[CheckOutcome, dg.AssetCheckEvaluation]:
    """What was seen by the checks that came to an end, many at a time."""
    by_event = {
        one.event: one for one in outcomes if one.status in (CheckStatus.PASSED, CheckStatus.FAILED)
    }
    kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    found = {}
    for record in events(instance, kind, sorted(by_event)):
        event = record.event_log_entry.dagster_event
        found[by_event[record.storage_id]] = event.asset_check_evaluation_data
    return found


def _of_planned(run: dg.DagsterRun | None, not_made: bool) -> CheckStatus:
    if run is not None and not run.is_finished:
        return CheckStatus.UNDER_WAY
    if not_made:
        return CheckStatus.NOT_MADE
    return CheckStatus.BROKEN if run is not None and run.is_failure else CheckStatus.NOT_RUN


def _last_executions(
    instance: dg.DagsterInstance, checks: Collection[dg.AssetCheckKey]
) -> list[dict[str, Any]]:
    """Rows of the storage's own table, with the check as `key`."""
    import sqlalchemy as db  # imported when used, as it takes half a second

    columns = (
        "id", "asset_key", "check_name", "partition", "execution_status", "run_id",
        "evaluation_event_storage_id", "materialization_event_storage_id",
    )  # fmt: skip
    row = db.table("asset_check_executions", *(db.column(name) for name in columns)).c
    assets = {check.asset_key.to_string(): check.asset_key for check in checks}
    last = (
        db.select(db.func.max(row.id))
        .where(row.asset_key.in_(list(assets)), row.evaluation_event_storage_id.isnot(None))
        .group_by(row.asset_key, row.check_name, row.partition)
    )
    query = db.select(*row).where(row.id.in_(last))
    storage: Any = instance.event_log_storage
    with storage.index_connection() as connection:
        rows = connection.execute(query).mappings().all()
    return [
        {**one, "key": dg.AssetCheckKey(assets[one["asset_key"]], one["check_name"])}
        for one in rows
    ]
