"""Parquet files and the Arrow files of `datasets.save_to_disk`, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dasd_assets.questions.reading.rows import DropError, Row, steps
from dasd_assets.questions.reading.unusable import UnusableRowError

BATCH_ROWS = 1_000
_DAMAGED = (pa.ArrowException, OSError, UnicodeError)


def parquet_schema(file: Path) -> pa.Schema:
    """Schema of a Parquet file.

    Raises:
        DropError: the file is no Parquet file, or its end is missing.
    """
    try:
        with pq.ParquetFile(file) as parquet:
            groups = range(parquet.num_row_groups)
            n_rows = sum(parquet.metadata.row_group(group).num_rows for group in groups)
            if n_rows != parquet.metadata.num_rows:
                raise pa.ArrowInvalid(f"{n_rows} rows in its groups, {parquet.metadata.num_rows} "
                                      "by its footer")  # fmt: skip
            return parquet.schema_arrow
    except _DAMAGED as error:
        raise DropError(f"{file}: cannot be read as Parquet: {_reason(file, error)}") from error


def read_parquet(file: Path, columns: list[str]) -> Iterator[Row]:
    """Rows of a Parquet file.

    The rows of a row group that is damaged get the reason corrupt_row_group; the groups beside it
    are read.
    """
    with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        first = 1
        for group in range(parquet.num_row_groups):
            n_rows = parquet.metadata.row_group(group).num_rows
            line = first
            try:
                for batch in parquet.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns):
                    yield from _rows(batch, line)
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
        DropError: the file has another format.
    """
    try:
        with pa.memory_map(str(file)) as source:
            return pa.ipc.open_stream(source).schema
    except _DAMAGED as error:
        raise DropError(
            f"{file}: cannot be read as an Arrow stream: {_reason(file, error)}"
        ) from error


def read_arrow_stream(file: Path, columns: list[str]) -> Iterator[Row]:
    """Rows of a file in Arrow's stream format.

    Raises:
        DropError: a batch is damaged. How many rows it and the next ones held is not known then.
    """
    line = 1
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
                yield from _rows(batch.slice(start, BATCH_ROWS), line + start)
            line += batch.num_rows


def check_column(file: Path, schema: pa.Schema, column: str, field: str) -> None:
    """Whether a file has what a layout names.

    Raises:
        DropError: the file has no such column, or the column no such part; names what there is.
    """
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


def _rows(batch: pa.RecordBatch, first: int) -> Iterator[Row]:
    try:
        contents: list[Any] = batch.to_pylist()
    except (ValueError, OverflowError):  # text that is no UTF-8, a date that Python has not
        contents = [_one(batch.slice(index, 1)) for index in range(batch.num_rows)]
    yield from map(Row, range(first, first + batch.num_rows), contents)


def _one(row: pa.RecordBatch) -> dict[str, Any] | UnusableRowError:
    try:
        return dict(row.to_pylist()[0])
    except UnicodeDecodeError as error:
        return UnusableRowError("invalid_utf8", f"byte {error.start}: {error.reason}")
    except (ValueError, OverflowError) as error:
        return UnusableRowError("wrong_type", str(error))


def _reason(file: Path, error: Exception) -> str:
    with file.open("rb") as stream:
        if stream.read(20).startswith(b"version https://git"):
            return "it is a Git LFS pointer. Fetch the data itself (`git lfs pull`)."
    return str(error)
