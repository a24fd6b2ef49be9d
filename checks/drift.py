"""Drift: how far a partition's numbers are from those of its last materialization.

Of every checked partition a small summary lies beside the lake's tables, so that a comparison never
reads the rows of another partition or of an earlier version.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from checks.checked_partition import CheckedPartition
from checks.expectations import Measurement
from dasd_assets.partitions import QUESTION_SHARD, TEMPERATURE
from dasd_assets.profile.data_contracts import DRIFT

FEWEST_ROWS = 20
"""Means and shares of fewer rows say little."""

MOST_PEERS = 32
"""Other partitions that are looked at: enough for a median, however many shards there are."""


@dataclass(frozen=True)
class Summary:
    """A partition in a few numbers."""

    n_rows: int
    means: dict[str, float] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)


def drift(data: CheckedPartition, table: str, summary: Summary) -> Measurement:
    """Compare with the partition's last materialization, else with partitions of its kind.

    The summary is kept for the next comparison. A check that runs again over the same file compares
    with the same numbers as before.
    """
    current: dict[str, Any] = {
        "n_rows": summary.n_rows,
        "means": _finite(summary.means),
        "shares": _finite(summary.shares),
    }
    previous = _remember(data, table, current)
    baseline, against = previous, "the partition's last materialization"
    if previous is None:
        baseline, against = _typical(list(_peers(data, table))), "the median of other partitions"
    if baseline is None:
        return Measurement(DRIFT.name, {}, details={"now": current, "before": "nothing to compare"})
    changes: dict[str, float] = {}
    if previous is not None and previous["n_rows"] >= FEWEST_ROWS:
        changes["n_rows"] = _relative(summary.n_rows, previous["n_rows"])
    if min(summary.n_rows, baseline["n_rows"]) >= FEWEST_ROWS:
        for name, value in current["means"].items():
            if name in baseline["means"]:
                changes[name] = _relative(value, baseline["means"][name])
        for name, value in current["shares"].items():
            changes[name] = abs(value - baseline["shares"].get(name, 0.0))
    return Measurement(DRIFT.name, changes, details={"now": current, against: baseline})


def _finite(values: dict[str, float]) -> dict[str, float]:
    """Another check fails where a value is not finite; here it has no distance to anything."""
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _relative(now: float, before: float) -> float:
    return abs(now - before) / max(abs(before), 1e-9)


def _file(table: str, partition: dict[str, str]) -> Path:
    dimensions = [f"{name}={key}" for name, key in partition.items()]
    return Path("_summaries", table, *dimensions, "summary.json")


def _remember(data: CheckedPartition, table: str, current: dict[str, Any]) -> dict[str, Any] | None:
    """Store the summary of what is in the lake now; gives back that of the file before."""
    name = _file(table, data.partition)
    file = data.lake.version(table, data.partition)
    stored = _load(data, name)
    previous = None
    if stored is not None:
        previous = stored["previous"] if stored["file"] == file else stored["current"]
    kept = {"file": file, "current": current, "previous": previous}
    data.lake.publish_file(str(name), json.dumps(kept).encode())
    return previous


def _load(data: CheckedPartition, name: Path) -> dict[str, Any] | None:
    file = data.lake.file(str(name))
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def _peers(data: CheckedPartition, table: str) -> Iterator[dict[str, Any]]:
    """Summaries of the other shards, at the same temperature where there are temperatures."""
    if QUESTION_SHARD not in data.partition:
        return
    where = {name: key for name, key in data.partition.items() if name == TEMPERATURE}
    others = [p for p in data.lake.partitions(table, **where) if p != data.partition]
    for partition in others[-MOST_PEERS:]:
        stored = _load(data, _file(table, partition))
        if stored is not None and stored["current"]["n_rows"] >= FEWEST_ROWS:
            yield stored["current"]


def _typical(peers: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The median of every number."""
    if not peers:
        return None
    typical: dict[str, Any] = {"n_rows": median(peer["n_rows"] for peer in peers)}
    for kind in ("means", "shares"):
        names = dict.fromkeys(name for peer in peers for name in peer[kind])
        typical[kind] = {
            name: median(peer[kind].get(name, 0.0) for peer in peers) for name in names
        }
    return typical
