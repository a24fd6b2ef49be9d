"""Partitions whose blocking checks have not passed.

Dagster holds back what is below them in the run that checks them, and no longer: to a run that
begins later, a partition is there or it is not.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import dagster as dg

from dasd_assets.dagster_internals import AssetGraph

PLANNED, FAILED = "PLANNED", "FAILED"


def unchecked(graph: AssetGraph, instance: dg.DagsterInstance, key: dg.AssetKey) -> set[str | None]:
    """Partitions of an asset of which a blocking check has failed, or was to run and did not.

    It did not if its step or its run was killed, before or while it looked at what had been made.
    A partition that was made without its checks, as the UI lets one, is not among them.
    """
    keys = graph.get_check_keys_for_assets({key})
    blocking = [check for check in keys if graph.get(check).blocking]
    if not blocking:
        return set()
    found = instance.event_log_storage.get_asset_check_partition_info(blocking)
    planned = {one.latest_planned_run_id for one in found if _status(one) == PLANNED}
    going_on = _going_on(instance, planned)
    return {
        one.partition_key
        for one in found
        if (_status(one) == PLANNED and one.latest_planned_run_id not in going_on)
        or (_status(one) == FAILED and _is_error(instance, one))
    }


def _status(info: Any) -> str:
    return str(info.latest_execution_status.value)


def _is_error(instance: dg.DagsterInstance, info: Any) -> bool:
    """Whether a check that failed holds back what is below, and does not only warn."""
    kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    events = (each.dagster_event for each in instance.all_logs(info.latest_planned_run_id, kind))
    found = [event.asset_check_evaluation_data for event in events if event is not None]
    return any(
        one.asset_check_key == info.check_key
        and one.partition == info.partition_key
        and one.severity == dg.AssetCheckSeverity.ERROR
        for one in found
    )


def _going_on(instance: dg.DagsterInstance, run_ids: Collection[str]) -> set[str]:
    if not run_ids:
        return set()
    runs = instance.get_runs(dg.RunsFilter(run_ids=list(run_ids)))
    return {run.run_id for run in runs if not run.is_finished}
