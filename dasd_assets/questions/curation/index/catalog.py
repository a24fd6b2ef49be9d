"""What the index consists of: its catalogue, one small file that names all others."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from dasd_assets.questions.curation.index.rows_file import RowsRecord
from dasd_assets.questions.curation.index.sorted_runs import RunRecord
from resources.lake.manifest import checksummed, of_checksummed

FOLDER: Final = "_question_index"
CATALOG: Final = f"{FOLDER}/catalog.json"

Keys = Literal["stored", "made", "none"]
"""Whether band keys of a shard are in the index: those it was stored with, such as were made for
the index because its own are of other settings, or none."""


@dataclass(frozen=True)
class IndexedShard:
    """A shard that is in the index.

    Attributes:
        version: of its files, when it was put in.
        order: as of OtherShard.
        slot: the number it has in the runs; one that is put in again gets a new one.
        rows: name and record of the file of its rows; none without band keys.
    """

    version: str
    order: int
    slot: int
    keys: Keys
    rows: tuple[str, RowsRecord] | None


@dataclass(frozen=True)
class IndexedRun:
    """A run, and the slots that are in it; some of them may be no shard's any more."""

    name: str
    record: RunRecord
    slots: tuple[int, ...]


@dataclass
class Catalog:
    """All that is in the index, made with one banding."""

    banding: str
    next_slot: int = 1
    shards: dict[str, IndexedShard] = field(default_factory=dict)
    runs: list[IndexedRun] = field(default_factory=list)

    def files(self) -> set[str]:
        """Names of its files, itself included."""
        rows = (shard.rows[0] for shard in self.shards.values() if shard.rows)
        return {CATALOG, *rows, *(run.name for run in self.runs)}

    def forget(self, name: str) -> None:
        """Drop a file and the shards of which it held something."""
        slots = {slot for run in self.runs if run.name == name for slot in run.slots}
        self.runs = [run for run in self.runs if run.name != name]
        self.shards = {
            shard: indexed
            for shard, indexed in self.shards.items()
            if indexed.slot not in slots and (indexed.rows is None or indexed.rows[0] != name)
        }

    def to_json(self) -> bytes:
        """As it is stored, with a checksum of its own."""
        return checksummed("catalog", asdict(self))

    @classmethod
    def from_json(cls, stored: bytes) -> Catalog:
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is something else, or damaged.
        """
        try:
            found = of_checksummed("catalog", stored)
            return cls(
                found["banding"],
                found["next_slot"],
                {name: _shard(**each) for name, each in found["shards"].items()},
                [
                    IndexedRun(each["name"], RunRecord(**each["record"]), tuple(each["slots"]))
                    for each in found["runs"]
                ],
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(str(error)) from None


def _shard(rows: tuple[str, dict[str, int]] | None, **rest: Any) -> IndexedShard:
    return IndexedShard(rows=(rows[0], RowsRecord(**rows[1])) if rows else None, **rest)
