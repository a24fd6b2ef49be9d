"""Partitions of the assets as they are, and which of them are stale."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, TypeAlias

import dagster as dg

# Which partitions of one asset belong to which of another, and the algebra of such sets: documented
# is only the mapping of single keys, by a partition mapping that one has to find oneself.
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView, TemporalContext

# The UI's "Unsynced", and why. Documented is only its picture.
from dagster._core.definitions.data_version import CachingStaleStatusResolver

from dasd_assets.dagster_internals.records import DATA_VERSION_TAG, LatestEvents

AssetGraph: TypeAlias = Any
"""`context.repository_def.asset_graph`, `Definitions.resolve_asset_graph()`."""
Subset: TypeAlias = Any
"""Partitions of one asset, as a `GraphView` has them."""
GraphView = AssetGraphView


def graph_view(graph: AssetGraph, instance: dg.DagsterInstance) -> GraphView:
    """The assets' partitions as they are now, each of them looked up once."""
    return AssetGraphView(
        temporal_context=TemporalContext(
            effective_dt=datetime.now(UTC),
            last_event_id=instance.event_log_storage.get_maximum_record_id(),
        ),
        instance=instance,
        asset_graph=graph,
    )


def subset_of(view: GraphView, key: dg.AssetKey, keys: Collection[str | None]) -> Subset:
    """Some partitions of an asset; `None` is the one of an asset without partitions."""
    partitions_def = view.asset_graph.get(key).partitions_def
    if partitions_def is not None:
        return view.get_subset_from_partition_keys(key, partitions_def, {*map(str, keys)})
    return view.get_full_subset(key=key) if keys else view.get_empty_subset(key=key)


def keys_of(subset: Subset) -> set[str | None]:
    """Partition keys of a subset; `None` for an asset without partitions."""
    if subset.is_partitioned:
        return set(subset.expensively_compute_partition_keys())
    return set() if subset.is_empty else {None}


async def on_its_way(view: GraphView, key: dg.AssetKey) -> Subset:
    """Partitions of an asset in a run or backfill, or made and not yet judged (blocking checks)."""
    # Documented are conditions of the nearest inputs; there is none that looks further up.
    all_of_it = view.get_full_subset(key=key)
    found = await view.compute_run_in_progress_subset(key=key, from_subset=all_of_it)
    backfill = await view.compute_backfill_in_progress_subset(key=key, from_subset=all_of_it)
    found = found.compute_union(backfill)
    for check in view.asset_graph.get_check_keys_for_assets({key}):
        if view.asset_graph.get(check).blocking:
            judged = await view.compute_run_in_progress_subset(
                key=check, from_subset=view.get_full_subset(key=check)
            )
            found = found.compute_union(judged.compute_mapped_subset(key, direction="up"))
    return found


class _Resolver(CachingStaleStatusResolver):
    """Dagster's own answer from records that are read many at a time.

    It asks storage some fifteen times for each partition, which was most of `dasd status`.
    """

    def __init__(self, view: GraphView, latest: LatestEvents) -> None:
        queryer = view.get_inner_queryer_for_back_compat()
        super().__init__(view.instance, view.asset_graph, view, queryer)
        self._latest = latest

    def _get_latest_data_version_record(self, key: Any) -> Any:
        if self.asset_graph.get(key.asset_key).is_materializable:
            return self._latest.record(key.asset_key, key.partition_key)
        return super()._get_latest_data_version_record(key)

    def _is_dep_updated(self, provenance: Any, dep_key: Any) -> bool:
        asset, partition = dep_key
        seen = provenance.input_storage_ids.get(asset)
        if partition is not None and seen and self.asset_graph.get(asset).is_materializable:
            if (self._latest.last(asset, partition) or 0) <= seen:
                return False
            now = self._latest.record(asset, partition).asset_materialization.tags or {}
            then = self._latest.versions_at(asset, seen)
            return then.get(partition) != now.get(DATA_VERSION_TAG)
        return super()._is_dep_updated(provenance, dep_key)


def stale_resolver(view: GraphView, latest: LatestEvents) -> CachingStaleStatusResolver:
    """Says of a partition whether it is up to date, asking storage for the same thing once."""
    return _Resolver(view, latest)
