"""Which checks do not hold of what is there: they fail, or they were never run on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dagster as dg

FAILED, NOT_RUN = ("FAILED", "EXECUTION_FAILED"), ("SKIPPED",)


def failing(states: Mapping[dg.AssetCheckKey, Any]) -> Iterator[tuple[dg.AssetCheckKey, str]]:
    """Checks that fail or were skipped, by name, each with the partitions in words.

    Args:
        states: as Dagster's storage has them, by check.
    """
    for key in sorted(states, key=lambda check: (check.asset_key, check.name)):
        state = states[key]
        subsets = {status.value: subset for status, subset in state.subsets.items()}
        for statuses, said in ((FAILED, "fails"), (NOT_RUN, "was not run")):
            names = sorted({name for status in statuses for name in names_of(subsets.get(status))})
            if names:
                where = ", ".join(filter(None, names[:3])) + (", …" if len(names) > 3 else "")
                yield key, f"{said} in {len(names)} partition(s) ({where})" if where else said


def names_of(subset: Any) -> set[str]:
    """Partition keys of an entity subset; that of an unpartitioned one is the empty text."""
    if subset is None or subset.is_empty:
        return set()
    return set(subset.subset_value.get_partition_keys()) if subset.is_partitioned else {""}


def lines(instance: dg.DagsterInstance, graph: Any) -> list[str]:
    """What fails or was not run, of all checks of a graph."""
    from dasd_assets.declaring.out_of_date import Staleness

    staleness = Staleness(graph, instance)
    with staleness.loading():
        states = staleness.check_states(set(graph.get_all_asset_keys()))
        return [
            f"{key.asset_key.to_user_string()}: {key.name} {said}" for key, said in failing(states)
        ]
