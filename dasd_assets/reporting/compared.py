"""A report's main numbers, and how they differ from those of the report before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dasd_assets.reporting.data_quality import DataQuality
from dasd_assets.reporting.funnel import FunnelStep
from dasd_assets.reporting.metrics import OVERALL
from dasd_assets.reporting.stage_table import NOT_MEASURED, StageRow

ACCURACY: Final = "avg@k (%)"
"""What names of numbers in per cent begin with; all others are counts."""


@dataclass(frozen=True)
class Change:
    """One number in both reports, as text; NOT_MEASURED in the one that does not have it."""

    name: str
    before: str
    now: str
    difference: str


def report_numbers(
    rows: Sequence[StageRow], steps: Sequence[FunnelStep], quality: DataQuality
) -> dict[str, float]:
    """Name -> number: accuracy of every checkpoint, rows of every step, checks that fail."""
    accuracies = {
        f"{ACCURACY} {row.checkpoint}": round(100 * score.avg_at_k.value, 2)
        for row in rows
        if (score := row.scores.get(OVERALL)) is not None
    }
    counts = {" ".join(filter(None, [step.name, step.temperature])): step.n for step in steps}
    return {**accuracies, **counts, "checks that fail": len(quality.failing)}


def changes(then: Mapping[str, float], now: Mapping[str, float]) -> list[Change]:
    """Every number that differs, in the order of the new report, then what it has no more."""
    return [
        Change(name, *_texts(name, then.get(name), now.get(name)))
        for name in dict.fromkeys([*now, *then])
        if then.get(name) != now.get(name)
    ]


def _texts(name: str, before: float | None, now: float | None) -> tuple[str, str, str]:
    form = ",.1f" if name.startswith(ACCURACY) else ",.0f"
    first, second = (NOT_MEASURED if n is None else f"{n:{form}}" for n in (before, now))
    if before is None or now is None:
        return first, second, ""
    return first, second, f"{now - before:+{form}}".replace("-", "−")
