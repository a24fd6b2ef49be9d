"""Shards of questions as curation sees them: rows that can be streamed more than once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dasd_assets.questions.curation.normalisation import (
    Messages,
    normalise,
    normalised_messages,
    normalised_question_id,
)

if TYPE_CHECKING:
    import duckdb

Batches = Callable[[], Iterable[pa.RecordBatch]]

BATCH_ROWS = 8_192
KEYS_AT_ONCE = 1 << 20
"""Keys that are looked up together: each time, the index is gone through once."""
PART_BYTES = 8 * 1024**2
"""Its words as Python's strings take some twenty times as much."""

OTHER_COLUMNS = ["question_id", "domain", "question", "earlier_messages"]
"""What is read of the shards that a shard is compared with."""


@dataclass(frozen=True)
class Shard:
    """The shard to curate.

    Attributes:
        rows: RAW_QUESTIONS.
        order: the how many-th shard it was to be curated first, from 1.
    """

    rows: Batches
    order: int


@dataclass(frozen=True)
class OtherShard:
    """A shard that has been curated.

    Attributes:
        name: the question_shard.
        order: as of Shard; 0: from before this was recorded.
        version: what changes whenever its questions or signatures are written.
        questions: its rows; OTHER_COLUMNS of QUESTIONS.
        signatures: its QUESTION_SIGNATURES, in the order of the questions.
    """

    name: str
    order: int
    version: str
    questions: Batches
    signatures: Batches


class Rows(NamedTuple):
    """Some rows of a shard, and the first one's number; columns are OTHER_COLUMNS but the id."""

    raw: pa.RecordBatch
    first: int

    def domains(self, indices: Sequence[int]) -> list[str]:
        """Domains of some of the rows."""
        return list(self.raw["domain"].take(pa.array(indices, pa.int64())).to_pylist())

    def questions(self, indices: Sequence[int]) -> list[str]:
        """Normalised questions of some of the rows."""
        texts = self.raw["question"].take(pa.array(indices, pa.int64())).to_pylist()
        return [normalise(text) for text in texts]

    def earlier_messages(self, indices: Sequence[int]) -> list[Messages]:
        """Normalised messages before the questions of some of the rows; mostly none."""
        column = self.raw["earlier_messages"]
        if column.null_count == len(column):
            return [()] * len(indices)
        found = column.take(pa.array(indices, pa.int64())).to_pylist()
        return [normalised_messages(messages) for messages in found]

    def ids(self, indices: Sequence[int]) -> list[str]:
        """Question ids of some of the rows."""
        parts = (self.domains(indices), self.questions(indices), self.earlier_messages(indices))
        return list(map(normalised_question_id, *parts))

    def conversations(self, indices: Sequence[int]) -> list[str]:
        """All that is said in some of the rows, the question last."""
        said = zip(self.earlier_messages(indices), self.questions(indices), strict=True)
        return [
            "\n".join([*(message["content"] for message in earlier), question])
            for earlier, question in said
        ]

    def user_turns(self, indices: Sequence[int]) -> list[list[str]]:
        """What the user says in some of the rows, the question last."""
        said = zip(self.earlier_messages(indices), self.questions(indices), strict=True)
        return [user_turns(question, earlier) for earlier, question in said]


def user_turns(question: str, earlier_messages: Messages | None) -> list[str]:
    """What the user says, the question last."""
    turns = [each["content"] for each in earlier_messages or () if each["role"] == "user"]
    return [*turns, question]


def in_parts(rows: Batches) -> Iterator[Rows]:
    """The rows of a shard, at most BATCH_ROWS and, of long ones, about PART_BYTES at a time."""
    first = 0
    for batch in rows():
        for start in range(0, batch.num_rows, BATCH_ROWS):
            for part in _halved(batch.slice(start, BATCH_ROWS)):
                yield Rows(part, first)
                first += part.num_rows


def _halved(rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    if rows.num_rows < 2 or rows.nbytes <= PART_BYTES:
        yield rows
        return
    middle = rows.num_rows // 2
    yield from _halved(rows.slice(0, middle))
    yield from _halved(rows.slice(middle))


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    """Add rows to a DuckDB table that has their columns."""
    connection.register("inserted", rows)
    connection.execute(f"insert into {table} by name select * from inserted")
    connection.unregister("inserted")


def ascending(connection: duckdb.DuckDBPyConnection, sql: str) -> Iterator[npt.NDArray[np.uint64]]:
    """What a query for one column of keys gives, in ascending order, each once, in parts."""
    result = connection.cursor().sql(f"select distinct key from ({sql}) as keys(key) order by key")
    for batch in result.to_arrow_reader(KEYS_AT_ONCE):
        yield batch["key"].to_numpy()
