"""Checks that every table of the lake has: contract, nulls, ids that are there once."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from checks.checked_partition import CheckedPartition, texts
from checks.expectations import Measurement
from dasd_assets.profile.data_contracts import MATCHES_CONTRACT, NO_NULLS, UNIQUE_IDS
from resources.lake.table import fits
from resources.lake.tables import TABLES

NEVER_BLANK = {
    "answer_id", "question_id", "response_id", "rollout_id", "continuation_id", "sample_id",
    "domain", "question",
}  # fmt: skip
"""Text columns in which an empty value, or one of white space alone, means as little as a null."""
TEXT = r"\S"
"""What there has to be one of in these."""


def contract_problems(data: CheckedPartition, tables: tuple[str, ...]) -> Measurement:
    """Columns that are not those of the contract, by table; only file footers are read."""
    found = {table: _differences(data, table) for table in tables}
    return Measurement(
        MATCHES_CONTRACT.name,
        {table: len(problems) for table, problems in found.items()},
        texts(f"{table}: {p}" for table, problems in found.items() for p in problems),
    )


def _differences(data: CheckedPartition, table: str) -> list[str]:
    file = data.lake.path(table, data.partition)
    if not file.is_file():
        return ["not in the lake"]
    try:
        found = pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        return [f"no Parquet file: {error}"]
    expected = TABLES[table].schema
    differing = [
        f"{field.name}: expected {_type(field)}, found "
        + (_type(found.field(field.name)) if field.name in found.names else "no such column")
        for field in expected
        if field.name not in found.names or not fits(found.field(field.name), field)
    ]
    extra = [name for name in found.names if name not in expected.names]
    return differing + [f"{name}: not in the contract" for name in extra]


def _type(field: pa.Field) -> str:
    return f"{field.type}{'' if field.nullable else ' not null'}"


def table_checks(data: CheckedPartition, tables: tuple[str, ...]) -> Iterator[Measurement]:
    """Nulls and repeated ids of every table; each is made a view."""
    nulls: dict[str, float] = {}
    repeated: dict[str, float] = {}
    columns: list[str] = []
    twice: list[str] = []
    for table in tables:
        data.view(table, *data.partition)
        counts = _nulls(data, table)
        nulls[table] = sum(counts.values())
        columns += [f"{table}.{name}: {count}" for name, count in counts.items() if count]
        if TABLES[table].ids:
            ids = ", ".join(f'"{name}"' for name in TABLES[table].ids)
            repeated[table], names = data.broken(
                f"select concat_ws(':', {ids}) from {table} group by {ids} having count(*) > 1"
            )
            twice += names
    yield Measurement(NO_NULLS.name, nulls, texts(columns))
    yield Measurement(UNIQUE_IDS.name, repeated, texts(twice))


def _nulls(data: CheckedPartition, table: str) -> dict[str, int]:
    """Nulls per required column, and blanks per column that must have none.

    The footer knows the nulls of all columns but those of floating point (see `parquet_layout`).
    """
    schema = TABLES[table].schema
    required = [field for field in schema if not field.nullable]
    in_footer = {field.name for field in required if not pa.types.is_floating(field.type)}
    counts: dict[str, int] = {}
    footer = pq.read_metadata(data.lake.path(table, data.partition))
    for group in range(footer.num_row_groups):
        for index in range(footer.num_columns):
            column = footer.row_group(group).column(index)
            name = column.path_in_schema
            if name in in_footer and column.statistics:
                counts[name] = counts.get(name, 0) + (column.statistics.null_count or 0)
    conditions = {
        name: f"not regexp_matches(\"{name}\", '{TEXT}')"
        for name in schema.names
        if name in NEVER_BLANK
    }
    conditions |= {
        field.name: f'"{field.name}" is null' for field in required if field.name not in in_footer
    }
    if conditions:
        selected = ", ".join(
            f'count(*) filter ({condition}) as "{name}"' for name, condition in conditions.items()
        )
        for name, count in data.row(f"select {selected} from {table}").items():
            counts[name] = counts.get(name, 0) + count
    return counts
