"""The warehouse: every table of the lake as a DuckDB view, and a few views that join them.

DuckDB reads the lake through Arrow datasets and itself may open no file, so that no query, however
it is worded, can write into the lake. Filters on the partition columns leave out whole files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from resources.lake.bucket_folder import bucket_of
from resources.lake.table import ContractError, Table
from resources.lake.tables import TABLES
from resources.temporary_folder import own_temporary_folder

if TYPE_CHECKING:
    import pyarrow.dataset as ds
    from duckdb import DuckDBPyConnection
    from pyarrow.fs import FileSystem

RENAMED: Final = {"temperature": "sampling_temperature"}
"""Columns that mean something else than the partition column of that name."""

JOINED: Final[dict[str, str]] = {
    "rejects": """
        SELECT response_id, question_id, temperature, question_shard, domain, sample_index,
               broken.rule, broken.evidence
        FROM (SELECT *, unnest(broken_rules) AS broken FROM rejected_responses)
    """,
    "samples": """
        SELECT r.response_id, r.question_id, r.temperature, r.question_shard, r.domain,
               r.sample_index, r.question, q.answer AS reference_answer, q.source,
               q."drop", q.line, r.sampling_temperature, r.finish_reason,
               CASE WHEN x.response_id IS NOT NULL THEN 'rejected'
                    WHEN f.response_id IS NOT NULL THEN 'kept' END AS verdict,
               x.broken_rules, f.is_correct, f.reasoning, f.answer, f.response_text,
               f.n_teacher_tokens, f.n_student_tokens,
               p.n_sentences, p.n_teacher_sentences, p.n_student_sentences, p.n_common_sentences,
               p.teacher_sentence_share, p.p_teacher, p.p_student, p.mean_student_rank,
               c.policy, c.score, c.rank, c.length_stratum, c.decision,
               c.is_selected, c.is_random_control, c.is_longest_control
        FROM teacher_responses r
        LEFT JOIN questions q USING (question_id, question_shard)
        LEFT JOIN rejected_responses x USING (response_id, temperature, question_shard)
        LEFT JOIN filtered_responses f USING (response_id, temperature, question_shard)
        LEFT JOIN response_provenance p USING (response_id, temperature, question_shard)
        LEFT JOIN divergence_candidates c USING (response_id, temperature)
    """,
    "sentences": """
        SELECT s.*, f.question_id, f.domain,
               decode(array_slice(encode(f.response_text), s.start_byte + 1, s.end_byte))
                   AS sentence
        FROM sentence_provenance s
        JOIN filtered_responses f USING (response_id, temperature, question_shard)
    """,
    "controls": """
        SELECT unnest(list_filter(
                   [if(is_selected, 'selected', NULL), if(is_random_control, 'random', NULL),
                    if(is_longest_control, 'longest', NULL)],
                   lambda one: one IS NOT NULL)) AS sample, *
        FROM divergence_candidates
    """,
    "training_samples": """
        SELECT temperature || '_temperature' AS checkpoint, 'off_policy' AS policy,
               response_id AS sample_id, response_id, question_id, domain, n_student_tokens
        FROM divergence_sample WHERE temperature IN ('low', 'high')
        UNION ALL
        SELECT 'dasd', m.policy, m.sample_id, coalesce(t.response_id, m.sample_id),
               m.question_id, m.domain, m.n_student_tokens
        FROM mixed_policy_sample m
        LEFT JOIN teacher_continuations t ON t.continuation_id = m.sample_id
    """,
}
"""Views over several tables: answers with all that became of them, broken rules one per row,
sentences with their text, the selection beside its controls, and which rows trained which
checkpoint."""


def open_warehouse(root: Path) -> DuckDBPyConnection:
    """A DuckDB connection over a lake; what is not in the lake is an empty view.

    The partition columns of a view are named as in the lake's paths. Where a table has a column
    `temperature` of its own, the value that was sampled at, it is `sampling_temperature` here.

    Args:
        root: the lake's root folder; of a lake in a bucket, its folder on this machine. The tables
            are then read where they are, over the network, and only what a query needs of them.

    Raises:
        ForeignFolderError: somebody else holds the folder for what does not fit into memory.
        ContractError: there is no lake, or a path in it has not the table's dimensions.
        ObjectStoreError: the bucket cannot be read.
    """
    import duckdb

    if not root.is_dir():
        raise ContractError(f"{root}: there is no lake; `dasd run` makes it")
    connection = duckdb.connect(
        config={
            "enable_external_access": "false",
            # What does not fit into memory; each user has a folder, as nobody else may look there.
            "temp_directory": str(own_temporary_folder("dasd-warehouse")),
        }
    )
    place = _place(root)
    for table, declared in TABLES.items():
        columns = [
            duckdb.ColumnExpression(name).alias(shown) for name, shown in _columns(declared).items()
        ]
        stored = _dataset(table, _partitions(place, table), place.files, declared.dimensions)
        connection.from_arrow(stored).select(*columns).create_view(table)
        for field in declared.schema:
            shown = RENAMED.get(field.name, field.name)
            description = field.metadata[b"description"].decode().replace("'", "''")
            connection.execute(f"COMMENT ON COLUMN {table}.\"{shown}\" IS '{description}'")
    for name, query in JOINED.items():
        connection.execute(f"CREATE VIEW {name} AS {query}")
    connection.execute("SET lock_configuration = true")
    return connection


def view_files(
    connection: DuckDBPyConnection, table: str, files: Iterable[Path], name: str | None = None
) -> None:
    """Make files of a table one view of a connection; the partition keys are no columns.

    Args:
        name: name of the view; the table's, if unset.
    """
    from pyarrow.fs import LocalFileSystem

    stored = _dataset(table, [(str(file), None) for file in files], LocalFileSystem())
    connection.from_arrow(stored).create_view(name or table, replace=True)


def _columns(table: Table) -> dict[str, str]:
    """Columns of a table's dataset, by the names they are shown under."""
    names, dimensions = table.schema.names, table.dimensions
    columns = {name: RENAMED.get(name, name) for name in names if name not in dimensions}
    columns |= {name: RENAMED[name] for name in RENAMED if name in names}
    return columns | {_partition_column(name): name for name in dimensions}


def _partition_column(dimension: str) -> str:
    """Name inside the dataset, where the file may have a column of the dimension's name."""
    return f"partition:{dimension}"


class _Folder:
    """A lake in a folder."""

    def __init__(self, root: Path) -> None:
        from pyarrow.fs import LocalFileSystem

        self.files: FileSystem = LocalFileSystem()
        self._root = root

    def partitions(self, table: str) -> Iterator[tuple[list[str], str]]:
        """Folders between the table and each of its files, and the path of the file."""
        for file in sorted((self._root / table).rglob("data.parquet")):
            yield list(file.relative_to(self._root / table).parts[:-1]), str(file)


class _Bucket:
    """A lake in a bucket."""

    def __init__(self, uri: str) -> None:
        from resources.lake.bucket import Bucket

        self._bucket = Bucket(uri)
        self.files: FileSystem = self._bucket.filesystem()

    def partitions(self, table: str) -> Iterator[tuple[list[str], str]]:
        """The same of objects."""
        for key in self._bucket.keys(f"{table}/"):
            *folders, name = key.split("/")[1:]
            if name == "data.parquet":
                yield folders, self._bucket.path(key)


def _place(root: Path) -> _Folder | _Bucket:
    uri = bucket_of(root)
    return _Bucket(uri) if uri else _Folder(root)


def _partitions(place: _Folder | _Bucket, table: str) -> Iterator[tuple[str, ds.Expression]]:
    """Path of each partition of a table that is in the lake, with its keys as a condition."""
    import pyarrow.dataset as ds

    dimensions = TABLES[table].dimensions
    for folders, path in place.partitions(table):
        parts = [part.partition("=") for part in folders]
        if tuple(name for name, _, _ in parts) != dimensions:
            raise ContractError(
                f"{path}: expected partitions {'/'.join(dimensions) or '(none)'} of {table}"
            )
        condition = ds.scalar(True)
        for name, _, key in parts:
            condition = condition & (ds.field(_partition_column(name)) == key)
        yield path, condition


def _dataset(
    table: str,
    partitions: Iterable[tuple[str, ds.Expression | None]],
    files: FileSystem,
    dimensions: Iterable[str] = (),
) -> ds.Dataset:
    """Files of a table; with dimensions, the keys that their conditions name are columns.

    A column that a file of an older version has not is null there.
    """
    import pyarrow.dataset as ds

    layout = ds.ParquetFileFormat(
        default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    )
    fragments = [layout.make_fragment(path, files, condition) for path, condition in partitions]
    # Nullable throughout: old files may lack a column, and nobody writes through a view.
    columns = [field.with_nullable(True) for field in TABLES[table].schema]
    keys = [pa.field(_partition_column(name), pa.string()) for name in dimensions]
    return ds.FileSystemDataset(fragments, pa.schema([*columns, *keys]), layout, files)
