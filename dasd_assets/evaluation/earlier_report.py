"""The stage report before this one, as far as Dagster remembers it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import dagster as dg

MADE_OF, NUMBERS, AS_OF = "made_of", "numbers", "data_as_of"
"""Metadata of a stage report that the next one looks at."""
LOOKED_AT = 100


@dataclass(frozen=True)
class EarlierReport:
    """When its data was made, and its main numbers."""

    date: str
    numbers: dict[str, float]


def made_of(sources: Iterable[tuple[str, str | None, str]]) -> str:
    """Ten hex digits over what a report shows: asset, partition and data version of all of it."""
    return hashlib.sha256(repr(sorted(map(str, sources))).encode()).hexdigest()[:10]


def earlier_report(
    instance: dg.DagsterInstance, key: dg.AssetKey, shown: str
) -> EarlierReport | None:
    """The newest report of other data; None if there is none among the last hundred.

    A report that is made again of the same data is so compared with the same one as before.

    Args:
        shown: `made_of` of the new report.
    """
    for record in instance.fetch_materializations(key, LOOKED_AT).records:
        event = record.asset_materialization
        metadata = event.metadata if event is not None else {}
        told: dict[str, Any] = {name: value.value for name, value in metadata.items()}
        if {MADE_OF, NUMBERS, AS_OF} <= told.keys() and told[MADE_OF] != shown:
            return EarlierReport(told[AS_OF], told[NUMBERS])
    return None
