"""The answers of a drop as they were delivered, joined with their companion."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from dasd_assets.profile import Layout
from dasd_assets.profile.answers import ImportedAnswers
from dasd_assets.questions.reading.columns import column_rows
from dasd_assets.questions.reading.data_files import DataFile, data_files, refuse_links
from dasd_assets.questions.reading.rows import FIELDS, UnusableRowError, value_at
from dasd_assets.teacher_responses.imported.companion import (
    COMPANION,
    Delivered,
    companion_rows,
    name_at,
)
from resources.lake.ordered_rows import OrderedRows
from resources.lake.row_batches import batches

SHOWN_IDS = 3


def delivered_answers(
    drop: Path, layout: Layout, temperature: str, max_row_bytes: int, scratch: Path
) -> Iterator[Delivered]:
    """The rows of a drop that belong to one temperature, in the order of the files.

    With a companion each comes with its row of tokens. A row whose id is there twice in the drop,
    or that has no companion or two, cannot be used; nor can a row of the companion that belongs to
    no answer of the drop. That one is told with the first temperature of the layout.

    Args:
        drop: file or folder.
        layout: one with answers.
        temperature: one that its answers name.
        max_row_bytes: a longer line of JSONL cannot be used.
        scratch: folder for the tokens of the companion; emptied before and after.

    Raises:
        DropError: a file cannot be read at all, a column that the layout names is not there, or a
            link leads out of the drop.
    """
    answers = _answers(layout)
    refuse_links(drop)
    files = data_files(drop, answers.temperatures[temperature].files)
    counts = _ids(drop, answers, max_row_bytes)
    tokens = answers.tokens
    if tokens is None or tokens.files is None:
        for row in _rows(files, layout, max_row_bytes):
            yield _named_once(row, counts)
        return
    names = [row.answer_id for row in _rows(files, layout, max_row_bytes, ids_only=True)]
    ordered_names = list(dict.fromkeys(name for name in names if name is not None))
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        companions = OrderedRows(pa.array(ordered_names, pa.string()), scratch, "id")
        orphans: list[Delivered] = []
        is_first = temperature == next(iter(answers.temperatures))
        rows = companion_rows(drop, tokens, max_row_bytes, counts, orphans if is_first else None)
        companions.read(batches(rows, COMPANION))
        yield from _joined(_rows(files, layout, max_row_bytes), ordered_names, companions, counts)
        yield from orphans
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _joined(
    rows: Iterable[Delivered], names: list[str], companions: OrderedRows, counts: Counter[str]
) -> Iterator[Delivered]:
    """Each row with its tokens; of a name that is there again the first row alone meets them."""
    n_found = dict(zip(names, companions.n_found.tolist(), strict=True))
    in_order = (row for part in companions.in_order() for row in _plain(part))
    met: set[str] = set()
    for row in rows:
        if row.answer_id is None or row.answer_id in met:
            yield _named_once(row, counts)
            continue
        met.add(row.answer_id)
        found = [next(in_order) for _ in range(n_found[row.answer_id])]
        row = _named_once(row, counts)
        if not isinstance(row.content, UnusableRowError):
            row = _with_tokens(row, found)
        yield row


def _plain(part: pa.Table) -> Iterator[dict[str, Any]]:
    """Rows with their lists as arrays."""
    rest = part.drop_columns(["token_ids", "logprobs"]).to_pylist()
    lists = [part[name].combine_chunks() for name in ("token_ids", "logprobs")]
    for index, row in enumerate(rest):
        token_ids, logprobs = (
            column[index].values.to_numpy(zero_copy_only=False) if column[index].is_valid else None
            for column in lists
        )
        yield {**row, "token_ids": token_ids, "logprobs": logprobs}


def _with_tokens(row: Delivered, found: list[dict[str, Any]]) -> Delivered:
    if len(found) != 1:
        where = ", ".join(f"{one['drop']}:{one['line']}" for one in found[:SHOWN_IDS])
        problem = (
            UnusableRowError("no_companion", f"no row of tokens is of {row.answer_id}")
            if not found
            else UnusableRowError("repeated_companion", f"{row.answer_id} has tokens in {where}")
        )
        return replace(row, content=problem)
    if found[0]["problem"] is not None:
        reason, _, evidence = found[0]["problem"].partition(": ")
        where = f"{found[0]['drop']}:{found[0]['line']}"
        problem = UnusableRowError(reason, f"{where}: {evidence}")
        return replace(row, content=problem)
    return replace(row, token_ids=found[0]["token_ids"], logprobs=found[0]["logprobs"])


def _named_once(row: Delivered, counts: Counter[str]) -> Delivered:
    if row.answer_id is None or counts[row.answer_id] < 2:
        return row
    problem = UnusableRowError(
        "repeated_id", f"{row.answer_id} is the id of {counts[row.answer_id]} rows of the drop"
    )
    return replace(row, content=problem)


def _ids(drop: Path, answers: ImportedAnswers, max_row_bytes: int) -> Counter[str]:
    """How often each id is in the drop, at whatever temperature."""
    counts: Counter[str] = Counter()
    if answers.id is None:
        return counts
    read: set[str] = set()
    for at in answers.temperatures.values():
        for file in data_files(drop, at.files):
            if file.name in read:
                continue
            read.add(file.name)
            for _, content in column_rows(file, {"id": answers.id}, max_row_bytes):
                if name := name_at(answers.id, content):
                    counts[name] += 1
    return counts


def _rows(
    files: list[DataFile], layout: Layout, max_row_bytes: int, *, ids_only: bool = False
) -> Iterator[Delivered]:
    answers = _answers(layout)
    used: dict[str, str | None] = {"answers.id": answers.id}
    if not ids_only:
        used |= {name: getattr(layout, name).column for name in FIELDS}
        used["answers.text"] = answers.text
        if answers.tokens is not None and answers.tokens.files is None:
            used["answers.tokens.token_ids"] = answers.tokens.token_ids
            used["answers.tokens.logprobs"] = answers.tokens.logprobs
    for file in files:
        for line, content in column_rows(file, used, max_row_bytes):
            yield _row(file.name, line, content, answers, with_tokens=not ids_only)


def _row(
    drop: str,
    line: int,
    content: dict[str, Any] | UnusableRowError,
    answers: ImportedAnswers,
    *,
    with_tokens: bool,
) -> Delivered:
    name = name_at(answers.id, content) if answers.id is not None else None
    if isinstance(content, dict) and answers.id is not None and name is None:
        content = UnusableRowError("missing_field", f"id ({answers.id})")
    row = Delivered(drop, line, content, name)
    tokens = answers.tokens
    if isinstance(content, UnusableRowError) or not with_tokens or tokens is None or tokens.files:
        return row
    try:
        return replace(
            row,
            token_ids=value_at(tokens.token_ids, content),
            logprobs=value_at(tokens.logprobs, content),
        )
    except UnusableRowError as error:
        return replace(row, content=error)


def _answers(layout: Layout) -> ImportedAnswers:
    if layout.answers is None:
        raise ValueError("the layout has no answers")
    return layout.answers
