"""What a table of the lake is: the contract between two assets, in one entry.

A table is written by exactly one asset, and checked against its schema on write and on read
(`resources/lake/lake.py`). Token-level columns are typed lists; probabilities are natural logs
unless the name says `p_`; offsets are bytes into the UTF-8 text that the comment names.

Whoever lists tables reads `resources.lake.tables.TABLES`: the warehouse its views, the checks the
ids, the UI the column lineage, the cost of a step its tokens, the reference its pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import pyarrow as pa

TOKEN_IDS: Final = pa.list_(pa.int32())
LOGPROBS: Final = pa.list_(pa.float32())
MESSAGES: Final = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
BROKEN_RULES: Final = pa.list_(pa.struct([("rule", pa.string()), ("evidence", pa.string())]))

SHARD: Final = ("question_shard",)
CELL: Final = ("temperature", "question_shard")


EARLIER_MESSAGES: Final = (
    "earlier_messages",
    MESSAGES,
    "what was said before the question, maybe beginning with a system prompt of its own; null: "
    "nothing",
    True,
)
"""A column of every table that prompts are made from."""

GAINED: Final = frozenset({EARLIER_MESSAGES[0]})
"""Nullable columns that tables have not always had: null where a partition was written before."""


class ContractError(ValueError):
    """Rows that break a contract between two assets; the message names table, partition, reason."""


class Source(NamedTuple):
    """A column of another asset's main table."""

    asset: str
    column: str


Lineage = Mapping[str, tuple[Source, ...]]
"""Column -> the columns that it is made from."""


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        schema: columns with their descriptions.
        dimensions: partition columns, in path order.
        ids: columns that identify a row within its partition; empty where rows need no id.
        written_with: the asset whose side table this is; None: the asset of the table's name.
        is_optional: only a setting has it written, so that it may lack beside its main table.
        token_column: whose tokens are counted: their list, or their number.
        is_by_a_model: a model samples or scores the tokens; its own rate is told while it works.
        lineage: where the columns come from, as the UI shows it. A column that is not mentioned is
            made by the asset itself: a setting, a running number, the model's identity.
    """

    schema: pa.Schema
    dimensions: tuple[str, ...]
    ids: tuple[str, ...] = ()
    written_with: str | None = None
    is_optional: bool = False
    token_column: str | None = None
    is_by_a_model: bool = False
    lineage: Lineage = field(default_factory=dict)

    def __post_init__(self) -> None:
        named = {*self.ids, *self.lineage, *([self.token_column] if self.token_column else [])}
        unknown = sorted(named - set(self.schema.names))
        if unknown:
            raise ContractError(
                f"the entry of the table with the columns {', '.join(self.schema.names)} names "
                f"{', '.join(unknown)}, which it has not"
            )


def schema(
    *columns: tuple[str, pa.DataType, str] | tuple[str, pa.DataType, str, bool],
) -> pa.Schema:
    """Fields from (name, type, description[, nullable]); columns are required unless said."""
    return pa.schema(
        [
            pa.field(
                column[0],
                column[1],
                nullable=len(column) > 3 and bool(column[3]),
                metadata={"description": column[2]},
            )
            for column in columns
        ]
    )


def fits(found: pa.Field, expected: pa.Field) -> bool:
    """Whether a stored column can be read as one of the contract.

    A column that had to be there when it was written, and now may be null, can.
    """
    same = found.name == expected.name and found.type == expected.type
    return bool(same and (expected.nullable or not found.nullable))


def columns(of: pa.Schema, names: Iterable[str]) -> list[tuple[str, pa.DataType, str, bool]]:
    """Columns of another table, taken over with their types and descriptions."""
    return [
        (
            name,
            of.field(name).type,
            of.field(name).metadata[b"description"].decode(),
            of.field(name).nullable,
        )
        for name in names
    ]


def same(asset: str, *columns: str) -> Lineage:
    """Lineage of columns taken over as they are."""
    return {column: (Source(asset, column),) for column in columns}


def made(columns: str, *sources: str) -> Lineage:
    """Lineage of columns made from others, which are written `asset.column`."""
    found = tuple(Source(*source.split(".")) for source in sources)
    return dict.fromkeys(columns.split(), found)
