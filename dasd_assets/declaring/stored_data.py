"""What the partitions of an asset have in the lake, and whether it is all there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import dagster as dg

from dasd_assets.dagster_internals import AssetGraph
from resources.lake.examination import GONE, Examination
from resources.lake.lake import Lake
from resources.lake.pictures import pictures_of
from resources.lake.tables import TABLES, tables_of

STORED: Final = "lake/stored"
"""In an asset's metadata: what it keeps in the lake beside its tables. `{partition}` in it stands
for the partition's key."""
TABLE: Final = "dagster/table_name"
OF_ASSET: Final = ("checkpoint", "student")
"""Dimensions of tables that have an asset for each of their keys."""


class Verified(NamedTuple):
    """What came of comparing every byte of a partition.

    Attributes:
        n_files: files and folders that it has.
        n_unrecorded: of these, what was written before there were checksums.
        problems: of these, what is gone or damaged, with what is wrong.
    """

    n_files: int
    n_unrecorded: int
    problems: list[str]


class StoredData:
    """Examines what assets have stored, each folder of the lake once."""

    def __init__(self, graph: AssetGraph, lake: Lake) -> None:
        self._graph = graph
        self._lake = lake
        self._examination = Examination(lake)

    def problems(self, key: dg.AssetKey, partition: str | None = None) -> list[str]:
        """What is wrong with what one partition has stored, each with its file; empty if all holds.

        Size, and the content of what was touched since it was written. Of pictures, of which there
        are many, only whether they are there: nothing is made of them.
        """
        names = list(self.names(key, partition))
        problems = ((name, self._examination.problem(name)) for name in names)
        found = [f"{name} {problem}" for name, problem in problems if problem]
        return found + [
            f"{picture} {GONE}"
            for picture in self._pictures(names)
            if not self._examination.is_there(picture)
        ]

    def verified(self, key: dg.AssetKey, partition: str | None = None) -> Verified:
        """Compare every byte that one partition has stored; what is damaged is marked as such."""
        names = list(self.names(key, partition))
        found = []
        for name in names:
            if problem := self._examination.problem(name, whole=True):
                found.append(f"{name} {problem}")
                self._examination.mark(name, problem)
        pictures = self._pictures(names)
        for picture in pictures:
            if problem := self._examination.problem(picture, whole=True):
                found.append(f"{picture} {problem}")
                self._lake.take_away(picture)  # then a glance sees it, and it is drawn again
        n_unrecorded = sum(not self._examination.is_recorded(name) for name in names)
        return Verified(len(names) + len(pictures), n_unrecorded, found)

    def _pictures(self, names: Sequence[str]) -> list[str]:
        """Pictures that were written of these, there or not."""
        return [
            picture
            for name in names
            for picture in self._examination.recorded_in(pictures_of(name))
        ]

    def names(self, key: dg.AssetKey, partition: str | None = None) -> Iterator[str]:
        """Paths below the lake's root of all that one partition has stored."""
        metadata = self._graph.get(key).metadata
        if table := _text(metadata.get(TABLE)):
            for each in tables_of(table):
                name = self._lake.name(each, self._keys(key, each, partition))
                if not TABLES[each].is_optional or self._examination.is_recorded(name):
                    yield name
        if stored := _text(metadata.get(STORED)):
            yield stored.format(partition=partition)

    def _keys(self, key: dg.AssetKey, table: str, partition: str | None) -> dict[str, str]:
        """Keys of a table's partition, in the order of the lake's paths."""
        partitions_def = self._graph.get(key).partitions_def
        if isinstance(partitions_def, dg.MultiPartitionsDefinition) and partition is not None:
            found = partitions_def.get_partition_key_from_str(partition).keys_by_dimension
            return {name: found[name] for name in TABLES[table].dimensions}
        rest = partition or ""
        return {
            name: key.path[1] if name in OF_ASSET else rest for name in TABLES[table].dimensions
        }


def _text(value: Any) -> str:
    """Text of a metadata entry, wrapped or not; empty if there is none."""
    return str(getattr(value, "value", value) or "")
