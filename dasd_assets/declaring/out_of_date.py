"""What is missing or stale: one answer for `dasd run`, `dasd status`, the jobs and the proposals.

It is Dagster's own, by code versions and data versions, with two things added. Dagster compares no
data versions over `MANY` and more partitions of one input, so a sample drawn over so many shards
would look up to date for ever. And it remembers what was made, not whether that is still there:
what is gone from the lake or damaged in it has to be made again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Final

import dagster as dg

from dasd_assets.dagster_internals import (
    DATA_VERSION_TAG,
    AssetGraph,
    CheckOutcome,
    LatestEvents,
    Subset,
    check_outcomes,
    graph_view,
    keys_of,
    stale_resolver,
    subset_of,
)
from dasd_assets.declaring.stored_data import StoredData
from resources.lake.lake import Lake

Dimensions = Mapping[str, tuple[dg.PartitionsDefinition, Collection[str]]]
"""Dimension -> what an asset with just this dimension is partitioned by, and keys of it."""

DRAWN: Final = "dasd/drawn_from_what_is_ready"
"""In the metadata of an asset that can be made while partitions of its inputs are missing."""
MANY: Final = 100
"""Partitions of one input from which on Dagster compares none of their data versions."""
INPUT_POINTER_TAG: Final = "dagster/input_event_pointer/"
"""With an input's name: the last event of that input when a partition was made of it."""


class State(StrEnum):
    """How a partition stands."""

    FRESH = "up to date"
    STALE = "stale"
    MISSING = "missing"


@dataclass(frozen=True)
class Cause:
    """Why a partition is stale.

    Attributes:
        source: the input that is the reason, with its partition; none if it is the code.
        input: its asset.
    """

    reason: str
    source: str | None = None
    input: dg.AssetKey | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.reason}: {self.source}" if self.source else self.reason


@dataclass(frozen=True)
class OutOfDate:
    """What has to be made.

    Attributes:
        ready: can be made, in order of the data's way; with what is below it in the selection.
        waiting: cannot be made, because inputs outside of the selection were never made.
        causes: these inputs.
    """

    ready: dict[dg.AssetKey, Subset] = field(default_factory=dict)
    waiting: dict[dg.AssetKey, Subset] = field(default_factory=dict)
    causes: dict[dg.AssetKey, Subset] = field(default_factory=dict)

    def partitions(self, key: dg.AssetKey) -> set[str | None]:
        """Partitions of an asset that can be made or wait; `None` for one without partitions."""
        parts = (self.ready.get(key), self.waiting.get(key))
        return {one for part in parts if part is not None for one in keys_of(part)}


class Staleness:
    """How the partitions of a graph stand at the time when this is made: what it saw, it keeps."""

    def __init__(
        self, graph: AssetGraph, instance: dg.DagsterInstance, lake: Lake | None = None
    ) -> None:
        """Look at a graph over an instance, and at what was made of it.

        Args:
            graph: as `Definitions.resolve_asset_graph` has it, or a run's `repository_def`.
            lake: where that is stored; not needed for `changed` and `made` alone.
        """
        self._graph = graph
        self._instance = instance
        self._view = graph_view(graph, instance)
        self.latest = LatestEvents(instance, graph.materializable_asset_keys)
        self._resolver = stale_resolver(self._view, self.latest)
        self._lake = lake

    @cached_property
    def stored(self) -> StoredData:
        """What the assets have in the lake."""
        if self._lake is None:
            raise TypeError("without a lake there is nothing to look for what is gone or damaged")
        return StoredData(self._graph, self._lake)

    def check_outcomes(self, keys: AbstractSet[dg.AssetKey]) -> list[CheckOutcome]:
        """What the checks of these assets found of the partitions that there are."""
        checks = self._graph.get_check_keys_for_assets(keys)
        partitions = {check: keys_of(self._view.get_full_subset(key=check)) for check in checks}
        found = check_outcomes(self._instance, checks, self.latest)
        return [one for one in found if one.partition in partitions[one.key]]

    def loading(self) -> AbstractContextManager[object]:
        """Inside of it, partitions are those that were there when this was made.

        Else Dagster asks storage for a dynamic partition each time that it sees its key.
        """
        return dg.partition_loading_context(new_ctx=self._view.partition_loading_context)

    def state(self, key: dg.AssetKey, partition: str | None = None) -> State:
        """How one partition stands, or an asset without partitions."""
        found = State[self._resolver.get_status(key, partition).name]
        if found is State.FRESH and (
            self.damage(key, partition) or any(self._changed_among_many(key, partition))
        ):
            return State.STALE
        return found

    def partitions(self, key: dg.AssetKey) -> set[str | None]:
        """All partitions that an asset has now; `None` for one without partitions."""
        return keys_of(self._view.get_full_subset(key=key))

    def made(self, key: dg.AssetKey) -> Subset:
        """Partitions that were made, of all that there are; none of what Dagster does not make."""
        full = self._view.get_full_subset(key=key)
        if not self._graph.get(key).is_materializable:
            return self._view.get_empty_subset(key=key)
        return full.compute_difference(self._missing(key))

    def damage(self, key: dg.AssetKey, partition: str | None = None) -> list[str]:
        """What is gone or damaged of a partition that was made; each file with what is wrong."""
        if State[self._resolver.get_status(key, partition).name] is State.MISSING:
            return []
        return self.stored.problems(key, partition)

    def causes(self, key: dg.AssetKey, partition: str | None = None) -> list[Cause]:
        """Why one partition is stale; empty for one that is up to date or missing."""
        damaged = (Cause(problem) for problem in self.damage(key, partition))
        return [*damaged, *self._changed(key, partition)]

    def changed(
        self, key: dg.AssetKey, partition: str | None = None
    ) -> AbstractSet[dg.AssetKey | None]:
        """Inputs that one partition was made of as they are no more, `None` if the code is another.

        All inputs for one that was never made. What is gone or damaged is not looked for.
        """
        if State[self._resolver.get_status(key, partition).name] is State.MISSING:
            return self._graph.get(key).parent_keys
        return {cause.input for cause in self._changed(key, partition)}

    def _changed(self, key: dg.AssetKey, partition: str | None) -> Iterator[Cause]:
        for cause in self._resolver.get_stale_causes(key, partition):
            about = cause.dependency
            if about is None:
                yield Cause(cause.reason)
            else:
                source = _named(about.asset_key, about.partition_key)
                yield Cause(cause.reason, source, about.asset_key)
        yield from self._changed_among_many(key, partition)

    def out_of_date(
        self, selection: Collection[dg.AssetKey], among: Dimensions | None = None
    ) -> OutOfDate:
        """Partitions of the selected assets that are missing, stale or below one that is.

        Args:
            among: only these keys of these dimensions; assets that do not have the dimension, and
                dimensions that are left out, are looked at whole.
        """
        found = OutOfDate()
        self.latest.load(key for key in selection if self._graph.get(key).is_materializable)
        for key in self._graph.toposorted_asset_keys:
            node = self._graph.get(key)
            if key not in selection or not node.is_materializable:
                continue
            wanted = self._among(self._view.get_full_subset(key=key), among or {})
            stale = self._subset(
                key, {one for one in keys_of(wanted) if self.state(key, one) != State.FRESH}
            )
            for parent in sorted(node.parent_keys):
                for above in (found.ready.get(parent), found.waiting.get(parent)):
                    if above is not None:
                        stale = stale.compute_union(above.compute_child_subset(key))
            stale = stale.compute_intersection(wanted)
            if stale.is_empty:
                continue
            blocked = self._blocked(key, stale, selection, found)
            waiting = stale.compute_intersection(blocked)
            ready = stale.compute_difference(waiting)
            found.ready.update({} if ready.is_empty else {key: ready})
            found.waiting.update({} if waiting.is_empty else {key: waiting})
        return found

    def _blocked(
        self,
        key: dg.AssetKey,
        stale: Subset,
        selection: Collection[dg.AssetKey],
        found: OutOfDate,
    ) -> Subset:
        """Partitions with an input that waits, or that was never made and is not to be made."""
        blocked = self._view.get_empty_subset(key=key)
        for parent in sorted(self._graph.get(key).parent_keys):
            if parent in selection:
                missing = found.waiting.get(parent)
            else:
                missing = self._missing(parent)
                below = self._below(missing, key).compute_intersection(stale)
                if not below.is_empty:
                    found.causes[parent] = missing
            if missing is not None:
                blocked = blocked.compute_union(self._below(missing, key))
        return blocked

    def below(
        self, key: dg.AssetKey, missing: Mapping[dg.AssetKey, Collection[str | None]]
    ) -> set[str | None]:
        """Partitions of an asset that cannot be made without these partitions of others."""
        found = self._view.get_empty_subset(key=key)
        for parent in self._graph.get(key).parent_keys & missing.keys():
            found = found.compute_union(self._below(self._subset(parent, missing[parent]), key))
        return keys_of(found)

    def _below(self, missing: Subset, key: dg.AssetKey) -> Subset:
        """As `below`, of one input."""
        found = missing.compute_child_subset(key)
        if not self._graph.get(key).metadata.get(DRAWN):
            return found
        there = self._view.get_full_subset(key=missing.key).compute_difference(missing)
        return found.compute_difference(there.compute_child_subset(key))

    def _changed_among_many(self, key: dg.AssetKey, partition: str | None) -> Iterator[Cause]:
        """Partitions of inputs with `MANY` of them that have another content than they had.

        Two queries for each such input, where Dagster would make two for each of its partitions.
        """
        with self.loading():
            many = {
                parent: keys
                for parent in sorted(self._graph.get(key).parent_keys)
                if len(keys := self._partitions_read(key, partition, parent)) >= MANY
            }
        if not many:
            return
        record = self.latest.record(key, partition)
        if record is None or (made := record.asset_materialization) is None:
            return
        for parent, keys in many.items():
            pointer = (made.tags or {}).get(INPUT_POINTER_TAG + parent.to_user_string())
            if pointer is None:
                yield Cause(f"has a new dependency on {parent.to_user_string()}", input=parent)
                continue
            last_event = int(pointer) if pointer.isdecimal() else 0  # NULL: there was none yet
            now = self._data_versions(parent, after_cursor=last_event)
            then = self._data_versions(parent, before_cursor=last_event + 1) if now else {}
            for one in keys:
                if one in now and now[one] != then.get(one):
                    yield Cause("has a new dependency data version", _named(parent, one), parent)

    def _partitions_read(
        self, key: dg.AssetKey, partition: str | None, parent: dg.AssetKey
    ) -> Sequence[str]:
        """Partitions of an input that one partition is made of; none where all are few."""
        partitions_def = self._graph.get(parent).partitions_def
        if partitions_def is None or partitions_def.get_num_partitions() < MANY:
            return ()
        read = self._graph.get_parent_partition_keys_for_child(partition, parent, key)
        return list(read.partitions_subset.get_partition_keys())

    def _data_versions(
        self, key: dg.AssetKey, before_cursor: int | None = None, after_cursor: int | None = None
    ) -> dict[str, str | None]:
        """Partition -> its data version, of those with an event before or after a cursor."""
        tags = self._instance.event_log_storage.get_latest_tags_by_partition(
            key, dg.DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG],
            before_cursor=before_cursor, after_cursor=after_cursor,
        )  # fmt: skip
        return {partition: found.get(DATA_VERSION_TAG) for partition, found in tags.items()}

    def _subset(self, key: dg.AssetKey, keys: Collection[str | None]) -> Subset:
        return subset_of(self._view, key, keys)

    def _among(self, subset: Subset, among: Dimensions) -> Subset:
        """What has, in each dimension, one of the keys asked for."""
        if not among:
            return subset
        partitions_def = subset.partitions_def

        def is_wanted(key: str | None) -> bool:
            if isinstance(partitions_def, dg.MultiPartitionsDefinition) and key is not None:
                parts = partitions_def.get_partition_key_from_str(key).keys_by_dimension
                return all(
                    parts[name] in keys for name, (_, keys) in among.items() if name in parts
                )
            return all(key in keys for alone, keys in among.values() if alone == partitions_def)

        return self._subset(subset.key, {key for key in keys_of(subset) if is_wanted(key)})

    def _missing(self, key: dg.AssetKey) -> Subset:
        """Partitions that were never made; of an asset that Dagster does not make, none."""
        if not self._graph.get(key).is_materializable:
            return self._view.get_empty_subset(key=key)
        full = self._view.get_full_subset(key=key)
        made = {one for one in keys_of(full) if self.latest.last(key, one) is not None}
        return self._subset(key, keys_of(full) - made)


def _named(key: dg.AssetKey, partition: str | None) -> str:
    return key.to_user_string() + (f" [{partition}]" if partition else "")
