"""Great Expectations on the rows themselves: a suite a table, run by it on DuckDB.

Everything is taken from what the table's checks go by: schema and ids of its entry, the rules of
`checks.table_rules`, limits and severities of the profile. A rule of which the profile lets some
rows be broken is not in a suite: Great Expectations knows no number of rows that may, only a share.
"""

from __future__ import annotations

import os

os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the library is imported

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import duckdb
import great_expectations as gx
import great_expectations.expectations as gxe
import sqlalchemy as sa
from great_expectations.expectations.metadata_types import FailureSeverity

import checks.duckdb_dialect  # noqa: F401 (makes the address known)
from checks.checked_partition import MEMORY_LIMIT, THREADS
from checks.row_rules import Rule
from checks.schema import NEVER_BLANK, TEXT
from checks.table_rules import rules_of
from dasd_assets.profile import Profile
from dasd_assets.profile.data_contracts import CONTRACTS, MATCHES_CONTRACT, NO_NULLS, UNIQUE_IDS
from resources.lake.lake import Lake
from resources.lake.tables import TABLES

PARTITION: Final = "partition"
"""Column of every view: the partition's keys, named as in the checks' results."""
AT_LEAST: Final = ("has_usable_rows", "not_empty")
"""Checks of how many rows the asset's main table has."""


class _RowsExpectation(gxe.UnexpectedRowsExpectation):
    """Tells the rows whatever the format of the result; there are never more than 200."""

    def _validate(
        self, metrics: Any, runtime_configuration: Any = None, execution_engine: Any = None
    ) -> Any:
        complete = {"result_format": "COMPLETE"}
        return super()._validate(metrics, complete, execution_engine)


class ExpectNoBrokenRows(_RowsExpectation):
    """Expect that no row breaks a rule."""


class ExpectOneLogprobPerToken(_RowsExpectation):
    """Expect exactly one finite logprob per token of each answer."""


class ExpectLogprobsNotPositive(_RowsExpectation):
    """Expect no logprob above 0, but for rounding."""


class ExpectFewRepetitive(_RowsExpectation):
    """Expect that few answers of each partition were rejected for repeating themselves."""


def row_suite(table: str, profile: Profile) -> gx.ExpectationSuite:
    """What each row of a table must keep; the checks on the table count the rows that do not."""
    return gx.ExpectationSuite(name=suite_name(table), expectations=list(_all_of(table, profile)))


def suite_name(table: str) -> str:
    """Name of a table's suite, which is none of an asset's."""
    return f"{table}.rows"


def shown_columns(table: str) -> list[str]:
    """What tells a row of the lake."""
    return [PARTITION, *TABLES[table].ids]


def write_views(lake: Lake, file: Path) -> tuple[str, list[str]]:
    """A DuckDB database with a view over all whole partitions of each table.

    Returns:
        Its address for SQLAlchemy, and the tables that have any.

    Raises:
        OSError: an earlier one cannot be replaced.
    """
    file.unlink(missing_ok=True)
    tables = []
    with duckdb.connect(str(file)) as connection:
        connection.execute("create table files (filename varchar, partition varchar)")
        for table in TABLES:
            files = [
                (str(lake.path(table, keys)), "|".join(keys.values()) or "all rows")
                for keys in lake.partitions(table)
                if lake.is_whole(table, keys)
            ]
            if not files:  # another table's rule may ask for it
                empty = TABLES[table].schema.empty_table()
                connection.register("empty", empty).execute(
                    f"create table {table} as select *, '' as {PARTITION} from empty"
                )
                continue
            tables.append(table)
            connection.executemany("insert into files values (?, ?)", files)
            names = ", ".join("'" + name.replace("'", "''") + "'" for name, _ in files)
            # Columns and types as the files have them, not as the contract says.
            connection.execute(
                f"""create view {table} as select * exclude (filename) from read_parquet(
                        [{names}], union_by_name = true, filename = true, hive_partitioning = false
                    ) join files using (filename)"""
            )
    limits = {"memory_limit": MEMORY_LIMIT, "threads": str(THREADS)}
    address = sa.URL.create("postgresql+duckdb", database=str(file.resolve()), query=limits)
    return address.render_as_string(), tables


def _all_of(table: str, profile: Profile) -> Iterator[Any]:
    asset = TABLES[table].written_with or table
    settings = profile.checks.of(asset)
    described = {contract.name: contract.description for contract in CONTRACTS[asset]}
    rules = rules_of(table, profile)
    limited = {*AT_LEAST, *(rule.check for rule in rules if rule.has_limit)}
    found = [*_of_every_table(table), *_row_count(table, profile)]
    found += [(rule.check, *_of_rule(rule, table)) for rule in rules]
    for check, kind, arguments in found:
        if check in settings and (settings[check].max == 0 or check in limited):
            is_error = settings[check].severity == "error"
            yield kind(
                **arguments,
                severity=FailureSeverity.CRITICAL if is_error else FailureSeverity.WARNING,
                description=f"{check}: {described[check]}",
                meta={"check": check},
            )


Found = tuple[str, type[Any], dict[str, Any]]
"""Check, class of expectation, its arguments."""


def _of_every_table(table: str) -> Iterator[Found]:
    """Columns, types, nulls, blanks and ids, from the table's entry."""
    schema, ids = TABLES[table].schema, TABLES[table].ids
    yield (
        MATCHES_CONTRACT.name,
        gxe.ExpectTableColumnsToMatchSet,
        {
            "column_set": [*schema.names, PARTITION],
            "exact_match": True,
        },
    )
    with duckdb.connect() as connection:
        types = connection.from_arrow(schema.empty_table()).types
    for name, kind in zip(schema.names, types, strict=True):
        yield (
            MATCHES_CONTRACT.name,
            gxe.ExpectColumnValuesToBeOfType,
            {
                "column": name,
                "type_": str(kind),
            },
        )
    for field in schema:
        if not field.nullable:
            yield NO_NULLS.name, gxe.ExpectColumnValuesToNotBeNull, {"column": field.name}
        if field.name in NEVER_BLANK:
            yield (
                NO_NULLS.name,
                gxe.ExpectColumnValuesToMatchRegex,
                {
                    "column": field.name,
                    "regex": TEXT,
                },
            )
    if ids:
        columns = {"column_list": [PARTITION, *ids]}
        yield UNIQUE_IDS.name, gxe.ExpectCompoundColumnsToBeUnique, columns
    if len(ids) == 1:
        yield "unique_in_all_shards", gxe.ExpectColumnValuesToBeUnique, {"column": ids[0]}


def _row_count(table: str, profile: Profile) -> Iterator[Found]:
    """Of all partitions together; the checks know it of each."""
    for check in AT_LEAST:
        limits = profile.checks.of(table).get(check) if table in CONTRACTS else None
        if limits is not None and (limits.min, limits.max) != (None, None):
            yield (
                check,
                gxe.ExpectTableRowCountToBeBetween,
                {
                    "min_value": limits.min,
                    "max_value": limits.max,
                },
            )


def _of_rule(rule: Rule, table: str) -> tuple[type[Any], dict[str, Any]]:
    kind = getattr(gxe, rule.expectation, None) or globals()[rule.expectation]
    if rule.arguments:
        return kind, dict(rule.arguments)
    columns = ", ".join([PARTITION, *(rule.columns or TABLES[table].ids)])
    rows = rule.rows.format(table="{batch}")
    return kind, {"unexpected_rows_query": f"select {columns} from {rows} where {rule.broken}"}
