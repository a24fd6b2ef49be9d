"""What earlier materializations measured, summed over the partitions of an asset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Totals:
    """Sums over materialized partitions; a quantity that none of them recorded is 0.

    Attributes:
        partitions: how many were summed.
        rows: rows of the main table.
        seconds: wall time of their steps.
        n_bytes: of the main table's files.
        tokens: of their rows: sampled, scored or trained on.
        truncated: rollouts that hit their cap.
        tokens_per_second: mean over the partitions, weighted by tokens, of all GPUs together.
        packing_efficiency: of training.
        peak_memory_gib: of the step that needed most.
    """

    partitions: int
    rows: int = 0
    seconds: float = 0.0
    n_bytes: int = 0
    tokens: int = 0
    truncated: int = 0
    tokens_per_second: float = 0.0
    packing_efficiency: float = 0.0
    peak_memory_gib: float = 0.0

    @property
    def seconds_beside_model(self) -> float:
        """Wall time of a row that its model does not account for: loading, requests, writing."""
        if not self.rows or not self.tokens_per_second:
            return 0.0
        return max(0.0, self.seconds - self.tokens / self.tokens_per_second) / self.rows


Measured = Mapping[tuple[str, str], Totals]
"""(asset, part) -> totals; the part is the temperature or benchmark, or empty."""


def ratio(above: float, below: float) -> float | None:
    """A quotient of two measured sums; None where one of them is not there."""
    return above / below if above and below else None
