"""One line of a plan, and how lines are added up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class AssetPlan:
    """What one asset, or its part of one temperature, takes.

    Attributes:
        partitions: materializations.
        requests: to a model; each row is one, or the sentences of an answer together.
        prompt_tokens: sent along, all requests together.
        tokens: sampled, scored or trained on (every epoch counted).
        gpus: of one run.
        hours: on the declared compute, one partition after the other; None: no rate is known.
        money: GPU-hours and tokens of an API; None: no price is known.
        disk_bytes: of its main table or checkpoint.
        steps: of the optimiser.
    """

    asset: str
    part: str
    partitions: int
    requests: int
    rows: int
    prompt_tokens: float
    tokens: float
    gpus: int
    hours: float | None
    money: float | None
    disk_bytes: float
    steps: int = 0

    @property
    def gpu_hours(self) -> float | None:
        """GPUs times hours; 0 for work that needs none."""
        return None if self.gpus and self.hours is None else self.gpus * (self.hours or 0.0)

    def __add__(self, other: AssetPlan) -> AssetPlan:
        """Both together, under the first one's name."""
        return replace(
            self,
            partitions=self.partitions + other.partitions,
            requests=self.requests + other.requests,
            rows=self.rows + other.rows,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            tokens=self.tokens + other.tokens,
            hours=total([self.hours, other.hours]),
            money=total([self.money, other.money]),
            disk_bytes=self.disk_bytes + other.disk_bytes,
            steps=self.steps + other.steps,
        )

    @property
    def hours_per_partition(self) -> float | None:
        """Mean wall time of one materialization."""
        return None if self.hours is None else self.hours / max(1, self.partitions)


def total(values: Iterable[float | None]) -> float | None:
    """A sum; None if one of the values is not known."""
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)
