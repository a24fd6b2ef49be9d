"""Dagster's records of many partitions, read at once instead of piece by piece."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import dagster as dg
from alembic.config import Config
from alembic.script import ScriptDirectory

DATA_VERSION_TAG: Final = "dagster/data_version"
"""Tag of a materialization that says its data version."""
RECORDS_AT_ONCE: Final = 200
"""Materializations of one query: before pictures were files, each had up to a megabyte of them."""
_REVISION: Final = re.compile(r'^(down_)?revision = "(\w+)"', re.MULTILINE)
"""In a file of Alembic's: its own revision, and the one that it is made upon."""


def _remember_revisions() -> None:
    """Have Alembic read the revisions of the records' schema once, for forks of this process too.

    Each storage of an instance, and the log of each run, compares its schema with the newest
    revision when it is opened. To find it, Alembic executes all their files, anew each time. To
    compare, it is enough to find the one that no other is made upon in their text.
    """
    read, known = ScriptDirectory.from_config, dict[str | None, ScriptDirectory]()
    look_up = ScriptDirectory.as_revision_number

    def remembered(config: Config) -> ScriptDirectory:
        place = config.get_main_option("script_location")
        if place not in known:
            known[place] = read(config)
        return known[place]

    def looked_up(self: ScriptDirectory, revision: str | None) -> str | tuple[str, ...] | None:
        newest = _newest_revision(Path(self.dir, "versions")) if revision == "head" else None
        return newest or look_up(self, revision)

    ScriptDirectory.from_config = staticmethod(remembered)  # type: ignore[method-assign]
    ScriptDirectory.as_revision_number = looked_up  # type: ignore[method-assign, assignment]


@cache
def _newest_revision(folder: Path) -> str | None:
    """The revision of a folder that no other is made upon; None if the texts do not say it."""
    upon, revisions, files = set[str](), set[str](), list(folder.glob("[!_]*.py"))
    for file in files:
        for is_upon, revision in _REVISION.findall(file.read_text(encoding="utf-8")):
            (upon if is_upon else revisions).add(revision)
    newest = revisions - upon
    return newest.pop() if len(newest) == 1 and len(revisions) == len(files) else None


_remember_revisions()


class LatestEvents:
    """The last event of each kind of each partition, of all assets of a graph in one query.

    Dagster's storage tells it of one asset at a time, in two queries each.
    """

    def __init__(self, instance: dg.DagsterInstance, keys: Iterable[dg.AssetKey]) -> None:
        self._instance = instance
        self._ids = _latest_ids(instance.event_log_storage, list(keys))
        self._records: dict[dg.AssetKey, dict[int, Any]] = {}
        self._versions: dict[tuple[dg.AssetKey, int], Mapping[str, str | None]] = {}

    def made(self, key: dg.AssetKey) -> Mapping[str | None, int]:
        """Partition -> storage id of its last materialization; `None` for one without partitions.

        With partitions, `None` is an event that names none of them.
        """
        return self._ids.get((key, dg.DagsterEventType.ASSET_MATERIALIZATION), {})

    def last(self, key: dg.AssetKey, partition: str | None) -> int | None:
        """Storage id of the last materialization of a partition, or of any for `None`."""
        made = self.made(key)
        return max(made.values(), default=None) if partition is None else made.get(partition)

    def attempts(self) -> dict[tuple[dg.AssetKey, str | None], str]:
        """Partition that a run set out to make and has not made -> that run.

        It failed, was cancelled, or is at it.
        """
        return {place: run for place, (_, run) in self._attempts.items()}

    def last_run(self, key: dg.AssetKey) -> str | None:
        """The run that made an asset last, or set out to; None if there is none."""
        self.load([key])
        runs = {number: record.run_id for number, record in self._records[key].items()}
        runs |= dict(newest for (asset, _), newest in self._attempts.items() if asset == key)
        return runs[max(runs)] or None if runs else None

    @cached_property
    def _attempts(self) -> dict[tuple[dg.AssetKey, str | None], tuple[int, str]]:
        """As `attempts`, with the storage id of the event that says so."""
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
        planned = {
            number: (asset, partition)
            for (asset, of), ids in self._ids.items()
            if of is kind
            for partition, number in ids.items()
            if number > self.made(asset).get(partition, 0)
        }
        return {
            planned[record.storage_id]: (record.storage_id, record.run_id)
            for record in events(self._instance, kind, [*planned])
        }

    def record(self, key: dg.AssetKey, partition: str | None) -> Any:
        """The last materialization of a partition; None if there is none."""
        number = self.last(key, partition)
        if number is None:
            return None
        self.load([key])
        return self._records[key].get(number)

    def versions_at(self, key: dg.AssetKey, number: int) -> Mapping[str, str | None]:
        """Partition -> its data version when the event with this storage id was the last."""
        if (key, number) not in self._versions:
            tags = self._instance.event_log_storage.get_latest_tags_by_partition(
                key, dg.DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG],
                before_cursor=number + 1,
            )  # fmt: skip
            self._versions[key, number] = {
                partition: found.get(DATA_VERSION_TAG) for partition, found in tags.items()
            }
        return self._versions[key, number]

    def load(self, keys: Iterable[dg.AssetKey]) -> None:
        """Read the last materializations of these assets, many at a time."""
        wanted = [key for key in keys if key not in self._records]
        self._records.update({key: {} for key in wanted})
        numbers = [number for key in wanted for number in self.made(key).values()]
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION
        for record in events(self._instance, kind, numbers):
            assert record.asset_key is not None
            self._records[record.asset_key][record.storage_id] = record


def events(
    instance: dg.DagsterInstance, kind: dg.DagsterEventType, numbers: Sequence[int]
) -> Iterator[Any]:
    """Records of one kind by their storage ids, many at a time."""
    for start in range(0, len(numbers), RECORDS_AT_ONCE):
        some = numbers[start : start + RECORDS_AT_ONCE]
        yield from instance.event_log_storage.get_event_records(
            dg.EventRecordsFilter(kind, storage_ids=some)
        )


def _latest_ids(
    storage: Any, keys: list[dg.AssetKey]
) -> dict[tuple[dg.AssetKey, dg.DagsterEventType], dict[str | None, int]]:
    """Storage ids by asset and kind of event, then by partition; wiped events are none."""
    import sqlalchemy as db

    # The very table that storage filters; imported when used, as it takes half a second.
    from dagster._core.storage.event_log.schema import SqlEventLogStorageTable

    row = SqlEventLogStorageTable.c
    kinds = (dg.DagsterEventType.ASSET_MATERIALIZATION,
             dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)  # fmt: skip
    of_these = row.asset_key.in_([key.to_string() for key in keys])
    query = storage._add_assets_wipe_filter_to_query(
        db.select(row.asset_key, row.dagster_event_type, row.partition, db.func.max(row.id))
        .where(of_these, row.dagster_event_type.in_([kind.value for kind in kinds]))
        .group_by(row.asset_key, row.dagster_event_type, row.partition),
        storage._get_assets_details(keys), keys,
    )  # fmt: skip
    by_text = {key.to_string(): key for key in keys}
    found: dict[tuple[dg.AssetKey, dg.DagsterEventType], dict[str | None, int]] = {}
    with storage.index_connection() as connection:
        for key, kind, partition, number in connection.execute(query):
            place = (by_text[key], dg.DagsterEventType(kind))
            found.setdefault(place, {})[partition] = number
    return found
