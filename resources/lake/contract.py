"""What a table's schema promises, held against the rows of a partition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa

from resources.lake.table import ContractError, fits

Partition = Mapping[str, str]


def partition_name(partition: Partition | None) -> str:
    """A partition's keys as a message names them."""
    return "/".join((partition or {}).values()) or "(unpartitioned)"


def checked(
    table: str, partition: Partition | None, batches: Iterable[pa.RecordBatch], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The batches, each of which has been checked.

    Raises:
        ContractError: one does not have the schema, or nulls in a column that is required.
    """
    for batch in batches:
        check_contract(table, partition, batch.schema, schema)
        _check_nulls(table, partition, batch, schema)
        yield batch


def check_contract(
    table: str,
    partition: Partition | None,
    found: pa.Schema,
    expected: pa.Schema,
    *,
    is_stored: bool = False,
) -> None:
    """Compare schemas.

    Args:
        is_stored: found in the lake: a column may be required there that now may be null.

    Raises:
        ContractError: they differ; the message names table, partition and columns.
    """
    if found.equals(expected):
        return
    if is_stored and found.names == expected.names and all(map(fits, found, expected)):
        return
    problems = [
        f"column {field.name}: expected {field.type}"
        f"{'' if field.nullable else ' not null'}, found "
        + (str(found.field(field.name)) if field.name in found.names else "none")
        for field in expected
        if field.name not in found.names or not found.field(field.name).equals(field)
    ]
    problems += [
        f"column {name}: not in the contract" for name in found.names if name not in expected.names
    ]
    raise ContractError(
        f"{table} {partition_name(partition)}: "
        + ("; ".join(problems) or "columns are in another order")
    )


def _check_nulls(
    table: str, partition: Partition | None, batch: pa.RecordBatch, schema: pa.Schema
) -> None:
    for field, column in zip(schema, batch.columns, strict=True):
        if not field.nullable and column.null_count:
            raise ContractError(
                f"{table} {partition_name(partition)}: column {field.name} has "
                f"{column.null_count} nulls, but is required"
            )
