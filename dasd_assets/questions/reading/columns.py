"""Rows of a data file, of whatever format, with the columns that somebody wants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa

from dasd_assets.questions.reading.arrow_rows import (
    arrow_schema,
    check_column,
    parquet_schema,
    read_arrow_stream,
    read_parquet,
)
from dasd_assets.questions.reading.data_files import DataFile
from dasd_assets.questions.reading.json_lines import read_json_lines
from dasd_assets.questions.reading.rows import DropError, Row, first_step


def column_names(file: DataFile) -> list[str] | None:
    """Columns of a file; None where each row tells for itself (JSONL).

    Raises:
        DropError: the file cannot be read.
    """
    schema = _schema(file)
    if schema is None:
        return None
    try:  # names are decoded when they are first looked at
        return list(schema.names)
    except UnicodeDecodeError as error:
        raise DropError(f"{file.path}: damaged, a column's name is no text: {error}") from error


def column_rows(
    file: DataFile, used: Mapping[str, str | None], max_row_bytes: int
) -> Iterator[Row]:
    """The rows of a file, unread; where it has a schema, it has what is wanted.

    Args:
        used: what a column is for -> the column, or a path into one; None: no column.
        max_row_bytes: of a line of JSONL.

    Raises:
        DropError: the file cannot be read, or a column is not there.
    """
    schema = _schema(file)
    if schema is None:
        return read_json_lines(file.path, max_row_bytes)
    for name, column in used.items():
        if column is not None:
            check_column(file.path, schema, column, name)
    columns = sorted(
        {first_step(column, schema.names) for column in used.values() if column is not None}
    )
    return (read_parquet if _is_parquet(file) else read_arrow_stream)(file.path, columns)


def _schema(file: DataFile) -> pa.Schema | None:
    if ".jsonl" in file.path.suffixes:
        return None
    return (parquet_schema if _is_parquet(file) else arrow_schema)(file.path)


def _is_parquet(file: DataFile) -> bool:
    return file.path.suffix == ".parquet"
