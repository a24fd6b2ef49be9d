"""What the materializations in Dagster's instance measured, for `dasd plan`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import dagster as dg

from dasd_assets.declaring.materializations import latest_materializations
from dasd_assets.plan.measured import Totals

BY_NAME = {"benchmark_questions", "sampling_temperature", "divergence_sample"}
"""Assets whose partitions are temperatures or benchmarks alone."""


def measured(instance: dg.DagsterInstance) -> dict[tuple[str, str], Totals]:
    """Totals of every asset, and of every temperature or benchmark of it, in the instance."""
    parts: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for event, *_ in latest_materializations(instance):
        name = event.asset_key.to_user_string()
        found = {label: value.value for label, value in event.metadata.items()}
        parts.setdefault((name, _part(name, event.partition)), []).append(found)
    return {part: _totals(found) for part, found in parts.items()}


def _part(asset: str, partition: str | None) -> str:
    """The temperature or benchmark of a partition; a shard is none."""
    if partition is None:
        return ""
    if "|" in partition:  # question_shard|temperature, in the order of their names
        return partition.split("|")[1]
    return partition if asset.startswith("evaluation") or asset in BY_NAME else ""


def _totals(found: Iterable[dict[str, Any]]) -> Totals:
    found = list(found)

    def total(name: str) -> float:
        return sum(value for one in found if isinstance(value := one.get(name), int | float))

    weights = [
        (one["tokens_per_second"], one.get("n_tokens") or one.get("trained_tokens") or 1)
        for one in found
        if one.get("tokens_per_second")
    ]
    weight = sum(n for _, n in weights)
    return Totals(
        partitions=len(found),
        rows=int(total("dagster/row_count")),
        seconds=total("cost/seconds"),
        n_bytes=int(total("bytes")),
        tokens=int(total("n_tokens")),
        truncated=int(total("truncated")),
        tokens_per_second=sum(rate * n for rate, n in weights) / weight if weight else 0.0,
        packing_efficiency=total("packing_efficiency") / len(found),
        peak_memory_gib=max(one.get("cost/peak_memory_gib", 0.0) for one in found),
    )
