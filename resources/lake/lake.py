"""The lake: one Parquet file per table and partition, written whole or not at all.

Layout: `<root>/<table>/<dimension>=<key>/…/data.parquet` (Hive style, so DuckDB and any other
reader find the partition columns in the path). Every write and read is checked against the
table's schema in `resources.lake.tables`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from resources.durable import sync, told_when_full
from resources.lake.lock_file import locked
from resources.lake.parquet_layout import row_groups, writer_options
from resources.lake.table import GAINED, ContractError, fits
from resources.lake.tables import TABLES

Partition = Mapping[str, str]

BATCH_ROWS = 1_024
"""Rows that a reader gets at once: as Python objects they are many times as large."""


@dataclass(frozen=True)
class Written:
    """What one write left in the lake."""

    table: str
    path: Path
    """A file of this machine."""
    uri: str
    """Where everybody finds it."""
    n_rows: int
    n_bytes: int
    data_version: str


class Lake(dg.ConfigurableResource):
    """Tables, checkpoints and scratch space of one pipeline below one root folder."""

    root: str = Field(description="folder below which everything is stored")

    def path(self, table: str, partition: Partition | None = None) -> Path:
        """File of one partition of a table; the dimensions stand in the order given."""
        return self._local(table, partition)

    def _local(self, table: str, partition: Partition | None) -> Path:
        dimensions = [f"{name}={key}" for name, key in (partition or {}).items()]
        return Path(self.root, table, *dimensions, "data.parquet")

    def write(
        self,
        table: str,
        rows: pa.Table | Iterable[pa.RecordBatch],
        partition: Partition | None = None,
    ) -> Written:
        """Write one partition atomically: readers see the old file or the whole new one.

        Args:
            table: table name.
            rows: the partition's rows; an iterable of batches is streamed in bounded memory. How
                it is cut into batches does not show in the file.
            partition: dimension name -> key, in path order.

        Raises:
            ContractError: a batch does not have the schema, or a required column has nulls.
            DiskFullError: the partition is as it was.
        """
        schema = TABLES[table].schema
        target = self._local(table, partition)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
        batches = rows.to_batches() if isinstance(rows, pa.Table) else rows
        n_rows = 0
        try:
            with (
                told_when_full(target),
                pq.ParquetWriter(temporary, schema, **writer_options(schema)) as writer,
            ):
                for group in row_groups(_checked(table, partition, batches, schema)):
                    writer.write_table(group, row_group_size=group.num_rows)
                    n_rows += group.num_rows
            target, data_version = self._publish_partition(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        uri = self.address(table, partition)
        return Written(table, target, uri, n_rows, target.stat().st_size, data_version)

    def address(self, table: str, partition: Partition | None = None) -> str:
        """Where a partition is or would be, for a person to read."""
        return str(self._local(table, partition))

    def _publish_partition(self, temporary: Path, target: Path) -> tuple[Path, str]:
        """Make a written partition visible; returns where it is and its data version."""
        return target, _publish(temporary, target)

    def version(self, table: str, partition: Partition | None = None) -> str:
        """What changes whenever the partition is written; it must have been."""
        stat = self._local(table, partition).stat()
        return f"{stat.st_mtime_ns}-{stat.st_ino}"

    def exists(self, table: str, partition: Partition | None = None) -> bool:
        """Whether the partition has been written."""
        return self.path(table, partition).is_file()

    def batches(
        self,
        table: str,
        partition: Partition | None = None,
        columns: list[str] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Stream one partition in batches of at most BATCH_ROWS, reading a row group at a time.

        A column that its table has gained since it was written (GAINED) is null.

        Raises:
            ContractError: the partition is missing or does not have the schema.
        """
        schema = TABLES[table].schema
        file = self.path(table, partition)
        if not file.is_file():
            raise ContractError(
                f"{table} {_name(partition)}: not in the lake ({self.address(table, partition)}). "
                "Materialize it first."
            )
        parquet = pq.ParquetFile(file)
        found = parquet.schema_arrow
        lacking = GAINED - set(found.names)
        had = pa.schema([field for field in schema if field.name not in lacking])
        _check_contract(table, partition, found, had, is_stored=True)
        yield from _with_absent(parquet, columns or schema.names, schema)

    def earlier(
        self, table: str, partition: Partition, columns: list[str]
    ) -> Iterator[pa.RecordBatch]:
        """What the partition held so far, also where its table had other columns then.

        A column that may be null is null where it was not there yet. Nothing if the partition is
        new, or if a column that is wanted was of another type or lacks.
        """
        file, schema = self.path(table, partition), TABLES[table].schema
        if not file.is_file():
            return
        parquet = pq.ParquetFile(file)
        found = parquet.schema_arrow
        if not all(
            fits(found.field(name), schema.field(name))
            if name in found.names
            else schema.field(name).nullable
            for name in columns
        ):
            return
        yield from _with_absent(parquet, columns, schema)

    def read(
        self,
        table: str,
        partition: Partition | None = None,
        columns: list[str] | None = None,
    ) -> pa.Table:
        """One partition as a table, in the order it was written."""
        schema = TABLES[table].schema
        wanted = pa.schema([schema.field(name) for name in columns or schema.names])
        return pa.Table.from_batches(self.batches(table, partition, columns), wanted)

    def partitions(self, table: str, **where: str) -> list[dict[str, str]]:
        """Partitions of a table that are in the lake, sorted, optionally with given keys."""
        found = []
        base = Path(self.root, table)
        for file in sorted(base.rglob("data.parquet")):
            keys = dict(part.split("=", 1) for part in file.relative_to(base).parts[:-1])
            if all(keys.get(name) == key for name, key in where.items()):
                found.append(keys)
        return found

    def read_partitions(
        self,
        table: str,
        columns: list[str] | None = None,
        **where: str,
    ) -> pa.Table:
        """All partitions with the given keys as one table, with the partition keys as columns."""
        tables = []
        for partition in self.partitions(table, **where):
            rows = self.read(table, partition, columns)
            for name, key in partition.items():
                if name not in rows.column_names:
                    values = pa.array([key] * rows.num_rows, pa.string())
                    rows = rows.append_column(pa.field(name, pa.string(), nullable=False), values)
            tables.append(rows)
        if not tables:
            schema = TABLES[table].schema
            return pa.schema([schema.field(n) for n in columns or schema.names]).empty_table()
        return pa.concat_tables(tables)

    def journal(self, asset: str, partition: Partition | None = None) -> Path:
        """File for the finished requests of a partition that is being generated."""
        name = "__".join([asset, *(partition or {}).values()])
        file = Path(self.root, "_journals", f"{name}.journal")
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def checkpoint_folder(self, checkpoint: str, key: str) -> Path:
        """Folder of one trained checkpoint; `key` is the content hash of what shaped it."""
        folder = Path(self.root, "checkpoints", checkpoint, key)
        folder.parent.mkdir(parents=True, exist_ok=True)
        return folder

    def publish_checkpoint(self, checkpoint: str, key: str) -> None:
        """Make a finished checkpoint folder the current one, atomically."""
        self.publish_folder(f"checkpoints/{checkpoint}/{key}")
        content = json.dumps({"key": key}).encode()
        self.publish_file(f"checkpoints/{checkpoint}/current.json", content)

    def current_checkpoint(self, checkpoint: str) -> Path:
        """Folder of the current checkpoint.

        Raises:
            ContractError: no such checkpoint has been trained, or its folder is gone.
        """
        key = self._current_key(checkpoint)
        folder = self.checkpoint_folder(checkpoint, key)
        if not folder.is_dir():
            raise ContractError(f"{checkpoint}: its current.json names {folder}, which is gone")
        return folder

    def checkpoint_file(self, checkpoint: str, name: str) -> Path:
        """One file of the current checkpoint.

        Raises:
            ContractError: no such checkpoint has been trained, or its folder is gone.
        """
        return self.current_checkpoint(checkpoint) / name

    def _current_key(self, checkpoint: str) -> str:
        pointer = self.file(f"checkpoints/{checkpoint}/current.json")
        if not pointer.is_file():
            raise ContractError(f"{checkpoint}: not trained yet ({pointer} is missing)")
        key: str = json.loads(pointer.read_text(encoding="utf-8"))["key"]
        return key

    def publish_folder(self, name: str) -> None:
        """Keep a finished folder below the root: here it is where it stays."""

    def file(self, name: str) -> Path:
        """A file below the root that was published; it need not exist."""
        return Path(self.root, name)

    def publish_file(self, name: str, content: bytes) -> Path:
        """Write one file (a report, a pointer) below the root atomically."""
        target = Path(self.root, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
        temporary.write_bytes(content)
        _publish(temporary, target)
        return target

    def exclusively(
        self, work: str, waiting: Callable[[str], None]
    ) -> AbstractContextManager[None]:
        """A block that one process at a time is in, of all that share the lake, wherever they are.

        Args:
            work: what the block does, one word; blocks of another do not wait for it.
            waiting: is told once if another process is in it.

        Raises:
            OSError: this cannot be held here. In a bucket also when a partition is written, or at
                the end, where this process was held up for so long that another one went on.
        """
        return locked(Path(self.root, "_locks", f"{work}.lock"), work, waiting)

    def free_bytes(self) -> int:
        """Free space on the lake's disk."""
        Path(self.root).mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self.root).free


def _publish(temporary: Path, target: Path) -> str:
    """Make a written file durable, then visible; returns the hash of its bytes."""
    with temporary.open("rb+") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    temporary.replace(target)
    sync(target.parent)
    return digest[:16]


def _name(partition: Partition | None) -> str:
    return "/".join((partition or {}).values()) or "(unpartitioned)"


def _groups(
    parquet: pq.ParquetFile, names: list[str], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The row groups of a file, one at a time; `iter_batches` would drop columns' nullability."""
    wanted = pa.schema([schema.field(name) for name in names])
    for group in range(parquet.num_row_groups):
        rows = parquet.read_row_group(group, columns=names).select(names).cast(wanted)
        yield from rows.to_batches(BATCH_ROWS)


def _with_absent(
    parquet: pq.ParquetFile, names: list[str], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The columns of a file, in this order; those that it has not are null."""
    known = [name for name in names if name in parquet.schema_arrow.names]
    wanted = pa.schema([schema.field(name) for name in names])
    for batch in _groups(parquet, known, schema):
        arrays = [
            batch[field.name] if field.name in known else pa.nulls(batch.num_rows, field.type)
            for field in wanted
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=wanted)


def _checked(
    table: str, partition: Partition | None, batches: Iterable[pa.RecordBatch], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        _check_contract(table, partition, batch.schema, schema)
        _check_nulls(table, partition, batch, schema)
        yield batch


def _check_contract(
    table: str,
    partition: Partition | None,
    found: pa.Schema,
    expected: pa.Schema,
    *,
    is_stored: bool = False,
) -> None:
    if found.equals(expected):
        return
    if is_stored and found.names == expected.names and all(map(fits, found, expected)):
        return
    problems = [
        f"column {field.name}: expected {field.type}"
        f"{'' if field.nullable else ' not null'}, found "
        + (str(found.field(field.name)) if field.name in found.names else "none")
        for field in expected
        if field.name not in found.names or not found.field(field.name).equals(field)
    ]
    problems += [
        f"column {name}: not in the contract" for name in found.names if name not in expected.names
    ]
    raise ContractError(
        f"{table} {_name(partition)}: " + ("; ".join(problems) or "columns are in another order")
    )


def _check_nulls(
    table: str, partition: Partition | None, batch: pa.RecordBatch, schema: pa.Schema
) -> None:
    for field, column in zip(schema, batch.columns, strict=True):
        if not field.nullable and column.null_count:
            raise ContractError(
                f"{table} {_name(partition)}: column {field.name} has {column.null_count} nulls, "
                "but is required"
            )
