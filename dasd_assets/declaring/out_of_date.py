"""Which partitions of some assets are missing or stale, and which of those can be made now."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import dagster as dg
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView, TemporalContext
from dagster._core.asset_graph_view.entity_subset import EntitySubset
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.loader import LoadingContext
from dagster._time import get_current_datetime

Dimensions = Mapping[str, tuple[dg.PartitionsDefinition, Collection[str]]]
"""Dimension -> what an asset with just this dimension is partitioned by, and keys of it."""

FRESH = StaleStatus.FRESH
Subset = EntitySubset[dg.AssetKey]


@dataclass(frozen=True)
class OutOfDate:
    """What has to be made.

    Attributes:
        ready: can be made, in order of the data's way; with what is below it in the selection.
        waiting: cannot be made, because inputs outside of the selection were never made.
        causes: these inputs.
    """

    ready: dict[dg.AssetKey, Subset]
    waiting: dict[dg.AssetKey, Subset]
    causes: dict[dg.AssetKey, Subset]


class Loading(LoadingContext):
    """What Dagster's status resolver reads the instance through."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._loaders: dict = {}

    @property
    def instance(self) -> dg.DagsterInstance:
        return self._instance

    @property
    def loaders(self) -> dict:
        return self._loaders


def out_of_date(
    graph: AssetGraph,
    instance: dg.DagsterInstance,
    selection: Collection[dg.AssetKey],
    among: Dimensions | None = None,
) -> OutOfDate:
    """Partitions of the selected assets that are missing, stale or below one that is.

    Args:
        among: only these keys of these dimensions; assets that do not have the dimension, and
            dimensions that are left out, are looked at whole.
    """
    view = AssetGraphView(
        temporal_context=TemporalContext(
            effective_dt=get_current_datetime(),
            last_event_id=instance.event_log_storage.get_maximum_record_id(),
        ),
        instance=instance,
        asset_graph=graph,
    )
    resolver = CachingStaleStatusResolver(instance, graph, Loading(instance))
    found = OutOfDate({}, {}, {})
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        for key in graph.toposorted_asset_keys:
            node = graph.get(key)
            if key not in selection or not node.is_materializable:
                continue
            wanted = _subset(view, key, _among(view.get_full_subset(key=key), among or {}))
            stale = _subset(
                view,
                key,
                {
                    one
                    for one in _keys(wanted)
                    if resolver.get_status(key, one) != StaleStatus.FRESH
                },
            )
            blocked = view.get_empty_subset(key=key)
            for parent in node.parent_keys:
                if parent in found.ready:
                    stale = stale.compute_union(found.ready[parent].compute_child_subset(key))
                if parent in selection:
                    missing = found.waiting.get(parent)
                else:
                    missing = _missing(view, parent)
                    below = missing.compute_child_subset(key).compute_intersection(stale)
                    if not below.is_empty:
                        found.causes[parent] = missing
                if missing is not None:
                    blocked = blocked.compute_union(missing.compute_child_subset(key))
            stale = stale.compute_intersection(wanted)
            waiting = stale.compute_intersection(blocked)
            ready = stale.compute_difference(waiting)
            found.ready.update({} if ready.is_empty else {key: ready})
            found.waiting.update({} if waiting.is_empty else {key: waiting})
    return found


def _keys(subset: Subset) -> set[str | None]:
    return {one.partition_key for one in subset.expensively_compute_asset_partitions()}


def _subset(view: AssetGraphView, key: dg.AssetKey, keys: Collection[str | None]) -> Subset:
    return view.get_asset_subset_from_asset_partitions(
        key, {AssetKeyPartitionKey(key, one) for one in keys}
    )


def _among(subset: Subset, among: Dimensions) -> set[str | None]:
    """Keys of a subset that have, in each dimension, one of the keys asked for."""
    partitions_def = subset.partitions_def

    def is_wanted(key: str | None) -> bool:
        if isinstance(partitions_def, dg.MultiPartitionsDefinition) and key is not None:
            parts = partitions_def.get_partition_key_from_str(key).keys_by_dimension
            return all(parts[name] in keys for name, (_, keys) in among.items() if name in parts)
        return all(key in keys for alone, keys in among.values() if alone == partitions_def)

    return {key for key in _keys(subset) if is_wanted(key)}


def _missing(view: AssetGraphView, key: dg.AssetKey) -> Subset:
    """Partitions that were never made; of an asset that Dagster does not make, none."""
    if not view.asset_graph.get(key).is_materializable:
        return view.get_empty_subset(key=key)
    made = view.instance.get_materialized_partitions(key)
    full = view.get_full_subset(key=key)
    if full.is_partitioned:
        return _subset(view, key, _keys(full) - made)
    event = view.instance.get_latest_materialization_event(key)
    return full if event is None else view.get_empty_subset(key=key)
