"""What the data of a run took, stage by stage, from what its materializations say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import dagster as dg

from dasd_assets.reporting.report import AssetCost


def asset_costs(
    materializations: Iterable[dg.AssetMaterialization], groups: Mapping[dg.AssetKey, str]
) -> list[AssetCost]:
    """Cost of every asset, summed over the materializations (see `declaring.cost.took`).

    Args:
        materializations: the newest of every partition.
        groups: asset -> its group, upstream first; other assets are left out.

    Returns:
        The costs of one group together, the groups in the order in which they are finished.
    """
    finished = {group: place for place, group in enumerate(groups.values())}
    by_asset: dict[dg.AssetKey, list[dg.AssetMaterialization]] = {}
    for event in materializations:
        by_asset.setdefault(event.asset_key, []).append(event)
    return [
        AssetCost(
            asset=key.to_user_string(),
            stage=group,
            n_partitions=len(by_asset[key]),
            seconds=_total(by_asset[key], "cost/seconds") or 0.0,
            n_tokens=None if (n := _total(by_asset[key], "n_tokens")) is None else int(n),
            gpu_hours=_total(by_asset[key], "cost/gpu_hours") or 0.0,
            core_hours=_total(by_asset[key], "cost/core_hours") or 0.0,
            money=_total(by_asset[key], "cost/money"),
        )
        for key, group in sorted(groups.items(), key=lambda item: finished[item[1]])
        if key in by_asset
    ]


def _total(events: Iterable[dg.AssetMaterialization], name: str) -> float | None:
    """Sum of a number over the events that have it; None if none has."""
    found = [event.metadata[name].value for event in events if name in event.metadata]
    numbers = [value for value in found if isinstance(value, int | float)]
    return sum(numbers) if numbers else None
