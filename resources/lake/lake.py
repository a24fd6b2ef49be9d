"""The lake: one Parquet file per table and partition, written whole or not at all.

Layout: `<root>/<table>/<dimension>=<key>/…/data.parquet` (Hive style, so DuckDB and any other
reader find the partition columns in the path). Every write and read is checked against the
table's schema in `resources.lake.tables`, and what is read against the file's manifest.
"""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from resources.durable import publish, told_when_full
from resources.lake.contract import Partition, check_contract, checked, partition_name
from resources.lake.lake_files import LakeFiles
from resources.lake.manifest import DamagedError, ManifestError, parquet_record, sha256_of
from resources.lake.manifests import manifest_of, mark, recorded
from resources.lake.parquet_layout import row_groups, writer_options
from resources.lake.pictures import pictures_of
from resources.lake.table import GAINED, ContractError, fits
from resources.lake.tables import TABLES
from resources.lake.verified_parquet import AlteredError, VerifiedParquet

BATCH_ROWS = 1_024
"""Rows that a reader gets at once: as Python objects they are many times as large."""

CHECK_RESULTS = "_checks"
"""Folder for what the checks found last: below it a partition lies as in a table."""

RETIRED = "_retired"
"""Folder for partitions that were taken out of their tables."""

_logger = logging.getLogger(__name__)


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


class Lake(LakeFiles):
    """Tables, checkpoints and scratch space of one pipeline below one root folder."""

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
                for group in row_groups(checked(table, partition, batches, schema)):
                    writer.write_table(group, row_group_size=group.num_rows)
                    n_rows += group.num_rows
            with told_when_full(target):
                record = parquet_record(temporary)
                with recorded(self, self.name(table, partition), record):
                    target = self._publish_partition(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        uri = self.address(table, partition)
        return Written(table, target, uri, n_rows, record.n_bytes, record.sha256[:16])

    def address(self, table: str, partition: Partition | None = None) -> str:
        """Where a partition is or would be, for a person to read."""
        return str(self._local(table, partition))

    def _publish_partition(self, temporary: Path, target: Path) -> Path:
        """Make a written partition visible; returns where it is."""
        publish(temporary, target)
        return target

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
        names = columns or schema.names
        with self._verified(table, partition) as parquet:
            lacking = GAINED - set(parquet.schema.names)
            had = pa.schema([field for field in schema if field.name not in lacking])
            check_contract(table, partition, parquet.schema, had, is_stored=True)
            known = [name for name in names if name not in lacking]
            for number in range(parquet.n_groups):
                try:
                    rows = parquet.group(number, known)
                except AlteredError as error:
                    raise self._damaged(table, partition, str(error)) from None
                yield from _with_absent(rows, names, schema)

    def earlier(
        self, table: str, partition: Partition, columns: list[str]
    ) -> Iterator[pa.RecordBatch]:
        """What the partition held so far, also where its table had other columns then.

        A column that may be null is null where it was not there yet. Nothing if the partition is
        new, or if a column that is wanted was of another type or lacks. Of a damaged file all that
        can be verified is given: the row groups whose columns of these are whole.
        """
        schema = TABLES[table].schema
        try:
            parquet = self._verified(table, partition)
        except ContractError:
            return
        with parquet:
            found = parquet.schema
            known = [name for name in columns if name in found.names]
            if not all(
                fits(found.field(name), schema.field(name))
                if name in known
                else schema.field(name).nullable
                for name in columns
            ):
                return
            for number in range(parquet.n_groups):
                try:
                    rows = parquet.group(number, known)
                except AlteredError as error:
                    _logger.warning("%s: %s", self.address(table, partition), error)
                    continue
                yield from _with_absent(rows, columns, schema)

    def verified_path(self, table: str, partition: Partition | None = None) -> Path:
        """File of a partition whose every byte has been compared with what was written.

        Raises:
            ContractError: the partition is missing or damaged.
        """
        with self._verified(table, partition):  # size and footer, and that it is there
            file = self.path(table, partition)
        manifest = manifest_of(self, self.name(table, partition))
        versions = [one.sha256 for one in manifest.versions] if manifest else []
        if versions and sha256_of(file) not in versions:
            raise self._damaged(table, partition, "has bytes that are not what was written")
        return file

    def is_whole(self, table: str, partition: Partition | None = None) -> bool:
        """Whether the partition is there and every byte of it is what was written."""
        try:
            self.verified_path(table, partition)
        except ContractError:
            return False
        return True

    def _verified(self, table: str, partition: Partition | None) -> VerifiedParquet:
        """The partition's file, with size and footer verified.

        Raises:
            ContractError: it is missing or damaged.
        """
        problem = ""
        for _ in range(2):  # it may be replaced between the two looks at it and its manifest
            try:
                manifest = manifest_of(self, self.name(table, partition))
                file = self.path(table, partition)
                if file.is_file():
                    return VerifiedParquet(file, manifest)
                if manifest is None or None in manifest.replaces:
                    raise ContractError(
                        f"{table} {partition_name(partition)}: not in the lake "
                        f"({self.address(table, partition)}). Materialize it first."
                    )
                problem = "is gone"
            except ManifestError:
                problem = "has a manifest that cannot be read"
            except (AlteredError, FileNotFoundError) as error:
                problem = str(error)
        raise self._damaged(table, partition, problem)

    def _damaged(self, table: str, partition: Partition | None, problem: str) -> DamagedError:
        """Remember that a partition is damaged; gives the error that says so."""
        mark(self, self.name(table, partition), problem)
        return DamagedError(
            f"{TABLES[table].written_with or table} {partition_name(partition)}: "
            f"{self.address(table, partition)} {problem}. `dasd run` makes it again"
        )

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

    def retire(self, table: str, partition: Partition) -> None:
        """Move one partition and its pictures below `_retired`; what was there is replaced."""
        pictures = Path(self.root, pictures_of(self.name(table, partition)))
        folders = [self._local(table, partition).parent]
        for there in [pictures, *folders] if pictures.is_dir() else folders:
            aside = Path(self.root, RETIRED, there.relative_to(self.root))
            shutil.rmtree(aside, ignore_errors=True)
            aside.parent.mkdir(parents=True, exist_ok=True)
            there.rename(aside)

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


def _with_absent(rows: pa.Table, names: list[str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Columns of a table in this order, as batches; those that it has not are null."""
    wanted = pa.schema([schema.field(name) for name in names])
    arrays = [
        rows[field.name] if field.name in rows.column_names else pa.nulls(len(rows), field.type)
        for field in wanted
    ]
    # Of a file's own batches columns lose that they may not be null.
    yield from pa.Table.from_arrays(arrays, schema=wanted).to_batches(BATCH_ROWS)
