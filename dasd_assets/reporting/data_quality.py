"""What the checks on a run's data found, as a page shows it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Failing:
    """A check that fails; of an asset without partitions the partitions are empty."""

    asset: str
    check: str
    severity: str
    partitions: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataQuality:
    """The newest outcome of every check of every partition; errors stand before warnings."""

    n_passed: int = 0
    failing: tuple[Failing, ...] = ()


def data_quality(outcomes: Iterable[tuple[str, str, str | None, bool, str]]) -> DataQuality:
    """Gathered by asset and check.

    Args:
        outcomes: asset, check, partition, whether it passed, severity.
    """
    n_passed = 0
    failing: dict[tuple[str, str, str], list[str]] = {}
    for asset, check, partition, passed, severity in outcomes:
        if passed:
            n_passed += 1
        else:
            partitions = failing.setdefault((severity, asset, check), [])
            partitions += [partition] if partition else []
    return DataQuality(
        n_passed,
        tuple(
            Failing(asset, check, severity, tuple(sorted(partitions)))
            for (severity, asset, check), partitions in sorted(failing.items())
        ),
    )
