"""Shards of questions as curation sees them: rows that can be streamed more than once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dasd_assets.questions.normalisation import normalise

if TYPE_CHECKING:
    import duckdb

Batches = Callable[[], Iterable[pa.RecordBatch]]

BATCH_ROWS = 8_192


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
        questions: its rows; question_id, domain and question of QUESTIONS.
        signatures: its QUESTION_SIGNATURES, in the order of the questions.
    """

    name: str
    order: int
    questions: Batches
    signatures: Batches


class Rows(NamedTuple):
    """Some rows of a shard with their 0-based numbers in it and their normalised questions."""

    raw: pa.RecordBatch
    numbers: npt.NDArray[np.int64]
    questions: list[str]


def normalised(rows: Batches) -> Iterator[Rows]:
    """Rows with a column `question`, at most BATCH_ROWS at a time."""
    first = 0
    for batch in rows():
        for start in range(0, batch.num_rows, BATCH_ROWS):
            part = batch.slice(start, BATCH_ROWS)
            numbers = np.arange(first, first + part.num_rows, dtype=np.int64)
            yield Rows(part, numbers, [normalise(text) for text in part["question"].to_pylist()])
            first += part.num_rows


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    """Add rows to a DuckDB table that has their columns."""
    connection.register("inserted", rows)
    connection.execute(f"insert into {table} by name select * from inserted")
    connection.unregister("inserted")
