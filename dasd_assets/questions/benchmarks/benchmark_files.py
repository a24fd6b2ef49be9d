"""The rows of an evaluation set: of a file, of a folder, or of a data set on the hub."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from dasd_assets.profile import resolve_path
from dasd_assets.questions.inbox.partition_keys import DROP_SUFFIXES
from dasd_assets.questions.reading.arrow_rows import (
    arrow_schema,
    parquet_schema,
    read_arrow_stream,
    read_parquet,
)
from dasd_assets.questions.reading.data_files import data_files
from dasd_assets.questions.reading.json_lines import read_json_lines
from dasd_assets.questions.reading.rows import DropError, Row
from dasd_assets.questions.reading.unusable import UnusableRowError
from resources.hub import DATASETS, HubError, parse_address, pull_dataset

SUFFIXES: Final = (*DROP_SUFFIXES, ".csv")
MAX_ROW_BYTES: Final = 1 << 30
"""A row of LiveCodeBench holds all its hidden tests."""


class FileRow(NamedTuple):
    """A row and the file it stands in."""

    file: Path
    row: Row


def benchmark_rows(path: str, pattern: str = "*") -> Iterator[FileRow]:
    """All rows of an evaluation set, in the order of its files.

    Args:
        path: file or folder, or `hf://datasets/<owner>/<name>[@revision]`: then the files that fit
            the pattern are taken from the hub, or from its local cache without a network.
        pattern: files of a folder, by their path inside it.

    Raises:
        DropError: nothing is there, or a file cannot be read at all.
    """
    folder = _from_hub(path, pattern) if path.startswith(DATASETS) else resolve_path(path)
    if not folder.exists():
        raise DropError(f"{folder} is missing")
    for file in data_files(folder, pattern, SUFFIXES):
        for row in _rows(file.path):
            yield FileRow(file.path, row)


def _from_hub(path: str, pattern: str) -> Path:
    try:
        return pull_dataset(parse_address(path), [pattern])
    except HubError as error:
        raise DropError(str(error)) from error


def _rows(file: Path) -> Iterator[Row]:
    if ".jsonl" in file.suffixes:
        yield from read_json_lines(file, MAX_ROW_BYTES)
    elif file.suffix == ".csv":
        yield from _csv(file)
    elif file.suffix == ".parquet":
        yield from read_parquet(file, parquet_schema(file).names)
    elif file.suffix == ".arrow":
        yield from read_arrow_stream(file, arrow_schema(file).names)
    else:
        raise DropError(f"{file}: expected a name that ends in {', '.join(SUFFIXES)}")


def _csv(file: Path) -> Iterator[Row]:
    """Rows below the header, counted from 1; a cell may have several lines."""
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            header = next(reader, [])
            if twice := [name for name in header if header.count(name) > 1]:
                raise DropError(f"{file}: has the column {twice[0]!r} more than once")
            for number, cells in enumerate(reader, start=1):
                if len(cells) == len(header):
                    yield Row(number, dict(zip(header, cells, strict=True)))
                elif cells:
                    found = f"{len(cells)} cells below a header of {len(header)}"
                    yield Row(number, UnusableRowError("wrong_columns", found))
        except (csv.Error, UnicodeDecodeError) as error:
            line = reader.line_num
            raise DropError(f"{file}: no CSV in UTF-8 after line {line}: {error}") from error
