"""Reading a drop of questions: good rows are kept, bad ones quarantined with their reason."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyarrow as pa

from dasd_assets.profile import Layout
from dasd_assets.questions.reading.columns import column_names, column_rows
from dasd_assets.questions.reading.data_files import DataFile, data_files, refuse_links
from dasd_assets.questions.reading.rows import (
    FIELDS,
    DropError,
    Row,
    standard_layout,
    usable,
)
from dasd_assets.questions.reading.unusable import UnusableRowError
from resources.lake.tables.questions import QUARANTINED_ROWS, RAW_QUESTIONS

MAX_EVIDENCE = 200
CHUNK_ROWS = 1_000
CHUNK_CHARACTERS = 16 * 1024**2


@dataclass(frozen=True)
class DropContents:
    """Usable rows (RAW_QUESTIONS) and unusable ones (QUARANTINED_ROWS) of a drop, or of a part."""

    rows: pa.Table
    quarantined: pa.Table


def layout_of(shard: str, layouts: Mapping[str, Layout]) -> Layout | None:
    """The first layout whose pattern fits a shard's name; None: the standard one."""
    return next((layout for name, layout in layouts.items() if fnmatchcase(shard, name)), None)


def read_drop(
    drop: Path, layout: Layout | None, max_row_bytes: int, domains: Collection[str]
) -> Iterator[DropContents]:
    """Read a drop in parts of at most CHUNK_ROWS rows: a JSONL or Parquet file, or a folder.

    A part of long rows has fewer, about CHUNK_CHARACTERS.

    No content of a row makes this fail: a row that cannot be used is quarantined under its file
    and line, with one of the reasons missing_field, wrong_type, empty_question, unknown_domain,
    unmapped_value, row_too_long, invalid_utf8, or one of `conversation`; of JSONL also
    invalid_json, not_an_object, duplicate_key, line_too_long; of Parquet also
    corrupt_row_group. One row group of Parquet at most is held.

    Args:
        drop: file or folder.
        layout: which columns hold what; None: question, domain, answer and, optional, difficulty,
            source and system_prompt.
        max_row_bytes: a longer row is quarantined.
        domains: those that the profile has; a row of another one is quarantined.

    Raises:
        DropError: a file cannot be read at all or unpacks to more than it may, a column that the
            layout names is not there, a link leads out of the drop, or the folder has no data.
    """
    refuse_links(drop)
    files = data_files(drop, layout.files if layout else "*")
    opened = [(file, *_opened(file, layout, max_row_bytes)) for file in files]
    for file, fields, rows in opened:
        yield from _chunks(file, fields, rows, max_row_bytes, domains)


def _opened(
    file: DataFile, layout: Layout | None, max_row_bytes: int
) -> tuple[Layout, Iterator[Row]]:
    """The layout of one file, checked against its schema if it has one, and its rows, unread."""
    names = column_names(file)
    layout = layout or standard_layout(names)
    used = {name: getattr(layout, name).column for name in FIELDS}
    return layout, column_rows(file, used, max_row_bytes)


def _chunks(
    file: DataFile,
    layout: Layout,
    rows: Iterator[Row],
    max_row_bytes: int,
    domains: Collection[str],
) -> Iterator[DropContents]:
    good: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    n_characters = 0
    try:
        for line, content in rows:
            row = {"drop": file.name, "line": line}
            try:
                if isinstance(content, UnusableRowError):
                    raise content
                good.append(row | usable(content, layout, max_row_bytes, domains))
                n_characters += _n_characters(good[-1])
            except UnusableRowError as error:
                evidence = error.evidence[:MAX_EVIDENCE]
                bad.append(row | {"reason": error.reason, "evidence": evidence})
            if len(good) + len(bad) == CHUNK_ROWS or n_characters >= CHUNK_CHARACTERS:
                yield _tables(good, bad)
                good, bad, n_characters = [], [], 0
    except (pa.ArrowException, OSError) as error:
        raise DropError(f"{file.path}: damaged, cannot be read to its end: {error}") from error
    if good or bad:
        yield _tables(good, bad)


def _n_characters(row: dict[str, Any]) -> int:
    earlier = row["earlier_messages"] or ()
    return sum(map(len, [row["question"], row["answer"], *(each["content"] for each in earlier)]))


def _tables(good: list[dict[str, Any]], bad: list[dict[str, Any]]) -> DropContents:
    return DropContents(
        pa.Table.from_pylist(good, schema=RAW_QUESTIONS),
        pa.Table.from_pylist(bad, schema=QUARANTINED_ROWS),
    )
