"""Parquet files and the Arrow files of `datasets.save_to_disk`, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dasd_assets.questions.reading.rows import DropError, Row, steps
from dasd_assets.questions.reading.unpacked import Unpacked
from dasd_assets.questions.reading.unusable import UnusableRowError

BATCH_ROWS = 1_000
PIECE_BYTES = 8 * 1024**2
"""So much of a batch becomes Python's values at a time."""
_DAMAGED = (pa.ArrowException, OSError, UnicodeError)


def parquet_schema(file: Path) -> pa.Schema:
    """Schema of a Parquet file.

    Raises:
        DropError: the file is no Parquet file, its end is missing, or it has a column twice.
    """
    try:
        with pq.ParquetFile(file) as parquet:
            groups = range(parquet.num_row_groups)
            n_rows = sum(parquet.metadata.row_group(group).num_rows for group in groups)
            if n_rows != parquet.metadata.num_rows:
                raise pa.ArrowInvalid(f"{n_rows} rows in its groups, {parquet.metadata.num_rows} "
                                      "by its footer")  # fmt: skip
            return _each_once(file, parquet.schema_arrow)
    except _DAMAGED as error:
        raise DropError(f"{file}: cannot be read as Parquet: {error}") from error


def read_parquet(file: Path, columns: list[str]) -> Iterator[Row]:
    """Rows of a Parquet file.

    The rows of a row group that is damaged get the reason corrupt_row_group; the groups beside it
    are read.

    Raises:
        DropError: the file unpacks to more than it may.
    """
    unpacked = Unpacked(file)
    with pq.ParquetFile(
        file, page_checksum_verification=True, read_dictionary=_text_leaves(file)
    ) as parquet:
        first = 1
        for group in range(parquet.num_row_groups):
            n_rows = parquet.metadata.row_group(group).num_rows
            _check_group(parquet, group, columns, unpacked)
            line = first
            try:
                for batch in parquet.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns):
                    yield from _rows(batch, line, unpacked)
                    line += batch.num_rows
                if line != first + n_rows:
                    raise pa.ArrowInvalid(f"{line - first} rows of {n_rows}")
            except _DAMAGED as error:
                problem = UnusableRowError("corrupt_row_group", f"row group {group}: {error}")
                yield from (Row(lost, problem) for lost in range(line, first + n_rows))
            first += n_rows


def arrow_schema(file: Path) -> pa.Schema:
    """Schema of a file in Arrow's stream format.

    Raises:
        DropError: the file has another format, or a column twice.
    """
    try:
        with pa.memory_map(str(file)) as source:
            return _each_once(file, pa.ipc.open_stream(source).schema)
    except _DAMAGED as error:
        raise DropError(f"{file}: cannot be read as an Arrow stream: {error}") from error


def read_arrow_stream(file: Path, columns: list[str]) -> Iterator[Row]:
    """Rows of a file in Arrow's stream format.

    Raises:
        DropError: it unpacks to more than it may, or a batch is damaged. How many rows it and the
            next ones held is not known then.
    """
    line = 1
    unpacked = Unpacked(file)
    with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as batches:
        while True:
            try:
                batch = batches.read_next_batch().select(columns)
                batch.validate(full=True)  # offsets that lead outside of the file
            except StopIteration:
                return
            except _DAMAGED as error:
                raise DropError(f"{file}: damaged after row {line - 1}: {error}") from error
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield from _rows(batch.slice(start, BATCH_ROWS), line + start, unpacked)
            line += batch.num_rows


def check_column(file: Path, schema: pa.Schema, column: str, field: str) -> None:
    """Whether a file has what a layout names.

    Raises:
        DropError: the file has no such column, or the column no such part; names what there is.
    """
    if column in schema.names:  # a flat column whose name looks like a path
        return
    first, *rest = steps(column)
    if first not in schema.names:
        raise DropError(
            f"{file}: no column {first!r}, which {field} is to be read from. Its columns: "
            f"{', '.join(schema.names)}. Map them in `questions.layouts` of the profile."
        )
    kind, path = schema.field(first).type, str(first)
    for step in rest:
        if isinstance(step, int) and _is_list(kind):
            kind, path = kind.value_type, f"{path}[{step}]"
        elif isinstance(step, str) and pa.types.is_struct(kind):
            names = [kind.field(index).name for index in range(kind.num_fields)]
            if step not in names:
                raise DropError(
                    f"{file}: {path} has no field {step!r}, which {field} is to be read from "
                    f"({column}). Its fields: {', '.join(names)}."
                )
            kind, path = kind.field(step).type, f"{path}.{step}"
        else:
            wanted = "a list" if isinstance(step, int) else "a struct"
            raise DropError(
                f"{file}: {path} is {kind}, not {wanted}, and {field} is to be read from {column}"
            )


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _text_leaves(file: Path) -> list[str]:
    """Paths of columns of text, also of those inside of others.

    They are read as dictionaries, so that a text that a million rows share is in memory once.
    """
    with pq.ParquetFile(file) as parquet:
        leaves = [parquet.schema.column(index) for index in range(len(parquet.schema))]
    return [
        leaf.path
        for leaf in leaves
        if leaf.physical_type == "BYTE_ARRAY" and leaf.logical_type.type != "DECIMAL"
    ]


def _check_group(
    parquet: pq.ParquetFile, number: int, columns: list[str], unpacked: Unpacked
) -> None:
    """Whether what a row group says of itself can be held: a list of nulls takes no room there.

    Raises:
        DropError: it unpacks to more than it may.
    """
    group = parquet.metadata.row_group(number)
    n_bytes = 0
    for index in range(group.num_columns):
        path, leaf = parquet.schema.column(index).path, group.column(index)
        if path in columns or path.split(".")[0] in columns:
            n_bytes += max(leaf.total_uncompressed_size, 8 * leaf.num_values)
    if n_bytes > unpacked.most:
        raise unpacked.too_much()


def _rows(batch: pa.RecordBatch, first: int, unpacked: Unpacked) -> Iterator[Row]:
    n_bytes = sum(map(_n_bytes, batch.columns))
    if n_bytes > PIECE_BYTES and batch.num_rows > 1:
        middle = batch.num_rows // 2
        yield from _rows(batch.slice(0, middle), first, unpacked)
        yield from _rows(batch.slice(middle), first + middle, unpacked)
        return
    unpacked.add(n_bytes, batch.num_rows)
    try:
        contents: list[Any] = batch.to_pylist()
    except (ValueError, OverflowError):  # text that is no UTF-8, a date that Python has not
        contents = [_one(batch.slice(index, 1)) for index in range(batch.num_rows)]
    if any(map(_has_objects, batch.schema.types)):
        contents = [_as_written(content) for content in contents]
    yield from map(Row, range(first, first + batch.num_rows), contents)


def _n_bytes(column: pa.Array) -> int:
    """Bytes of a column with a text that several rows share counted for each of them."""
    if isinstance(column, pa.DictionaryArray):
        lengths = pc.binary_length(column.dictionary)
        return int(pc.sum(lengths.take(column.indices)).as_py() or 0)
    if isinstance(column, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        return _n_bytes(column.flatten())
    if isinstance(column, pa.StructArray):
        return sum(map(_n_bytes, column.flatten()))
    return int(column.nbytes)


def _has_objects(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) or (_is_list(kind) and _has_objects(kind.value_type))


def _as_written(value: Any) -> Any:
    """A value without the fields that its object does not have.

    In Arrow all objects of a column have the same fields, and those that one was written without
    are null. A row itself keeps its nulls: its columns are the file's.
    """
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items()}
    return value


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {n: _without_nulls(inner) for n, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value


def _one(row: pa.RecordBatch) -> dict[str, Any] | UnusableRowError:
    try:
        return dict(row.to_pylist()[0])
    except UnicodeDecodeError as error:
        return UnusableRowError("invalid_utf8", f"byte {error.start}: {error.reason}")
    except (ValueError, OverflowError) as error:
        return UnusableRowError("wrong_type", str(error))


def _each_once(file: Path, schema: pa.Schema) -> pa.Schema:
    twice = next((name for name in schema.names if schema.names.count(name) > 1), None)
    if twice is not None:
        raise DropError(
            f"{file}: has the column {twice!r} {schema.names.count(twice)} times, and which of "
            "them is meant nobody can tell. Rename or remove all but one."
        )
    return schema
