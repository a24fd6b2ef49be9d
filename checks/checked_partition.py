"""What a check looks at, as DuckDB views: it asks for a few numbers, and only that is read."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from resources.lake.lake import Lake, Partition
from resources.lake.warehouse import view_files

if TYPE_CHECKING:
    import duckdb

MEMORY_LIMIT = "1GiB"
THREADS = 2
MAX_EXAMPLES = 5


class CheckedPartition:
    """One asset's partition and what is upstream of it; row groups are streamed.

    A context manager. `partition` has the partition's keys in the order of the lake's paths.
    `made` is, of an asset over temperatures and shards, what Dagster remembers of it: the
    registered question_shards of which this temperature was made. `registered` are all of them, and
    `removed` those whose drop was in the inbox once and is no more.
    """

    def __init__(
        self,
        lake: Lake,
        partition: Partition,
        made: Callable[[str], Collection[str]] = lambda asset: (),
        registered: Callable[[], Collection[str]] = tuple,
        removed: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self.lake = lake
        self.partition = dict(partition)
        self.made = made
        self.registered = registered
        self.removed = removed
        self._spill = tempfile.TemporaryDirectory(prefix="dasd-checks-")
        self._connection: duckdb.DuckDBPyConnection | None = None

    def __enter__(self) -> CheckedPartition:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            self._connection.close()
        self._spill.cleanup()

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """In memory, for this check only."""
        if self._connection is None:
            import duckdb

            self._connection = duckdb.connect(
                config={
                    "memory_limit": MEMORY_LIMIT,
                    "threads": THREADS,
                    "temp_directory": self._spill.name,
                }
            )
        return self._connection

    def name(self) -> str:
        """The partition's keys, as the subject of what is measured of all its rows."""
        return "|".join(self.partition.values()) or "all rows"

    def view(self, table: str, *dimensions: str, **keys: str) -> None:
        """Make one partition of a table a view of the table's name.

        Args:
            dimensions: dimensions whose keys are those of the checked partition.
            keys: dimensions with another key.

        Raises:
            ContractError: the partition is not in the lake, or damaged.
        """
        partition = {**{name: self.partition[name] for name in dimensions}, **keys}
        view_files(self.connection, table, [self.lake.verified_path(table, partition)])

    def view_all(
        self, table: str, name: str | None = None, without: Partition | None = None, **where: str
    ) -> None:
        """Make all partitions with the given keys one view; the partition keys are no columns.

        One that is damaged is left out: it is out of date, and looked at when it was made again.

        Args:
            name: name of the view; the table's, if unset.
            without: a partition that is left out.
        """
        files = [
            self.lake.path(table, partition)
            for partition in self.lake.partitions(table, **where)
            if partition != without and self.lake.is_whole(table, partition)
        ]
        view_files(self.connection, table, files, name)

    def row(self, sql: str, **values: Any) -> dict[str, Any]:
        """The only row of a query, by column name."""
        relation = self.connection.sql(sql, params=values or None)
        return dict(zip(relation.columns, relation.fetchall()[0], strict=True))

    def pairs(self, sql: str, **values: Any) -> dict[str, Any]:
        """A query with two columns, as a mapping in the order of the rows."""
        return dict(self.connection.sql(sql, params=values or None).fetchall())

    def broken(self, sql: str, **values: Any) -> tuple[int, tuple[str, ...]]:
        """How many rows a query of ids has, and the first of the ids."""
        row = self.row(
            f"select count(*) as n, min(id::varchar, {MAX_EXAMPLES}) as ids from ({sql}) as b(id)",
            **values,
        )
        return row["n"], tuple(row["ids"] or ())


def shares(counts: Mapping[str, float]) -> dict[str, float]:
    """What part of the sum each count is; empty if the sum is 0."""
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items()} if total else {}


def share(part: float, whole: float) -> float:
    """part / whole; 0 of nothing."""
    return part / whole if whole else 0.0


def texts(values: Iterable[Any]) -> tuple[str, ...]:
    """The first few values, as examples."""
    return tuple(str(value) for value, _ in zip(values, range(MAX_EXAMPLES), strict=False))
