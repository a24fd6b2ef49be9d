"""Curation: normalised, once in all shards, and in no evaluation set (paper section 6.1).

The rows of a shard are passed over a few times in small batches; what is to be compared between
them lies in DuckDB tables, which go to disk where they do not fit into memory.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from dasd_assets.profile import Questions
from dasd_assets.questions.curation.decontamination import EvaluationGrams
from dasd_assets.questions.curation.index.question_index import QuestionIndex
from dasd_assets.questions.curation.index.shard_entries import id_keys
from dasd_assets.questions.curation.near_rejection import MEMBERS_SQL, reject_near
from dasd_assets.questions.curation.shards import BATCH_ROWS, Shard, ascending, in_parts, insert
from resources.compute.declared import Compute
from resources.lake.table import MESSAGES
from resources.lake.tables.questions import QUESTION_SIGNATURES, QUESTIONS, REJECTED_QUESTIONS

if TYPE_CHECKING:
    import duckdb

DUCKDB_SHARE_OF_MEMORY = 0.5
FEWEST_TELLING: Final = 10
"""Questions; that fewer are all rejected tells nothing of their cause."""
OF_SHARDS: Final = frozenset({"duplicate_of_shard", "near_duplicate_of_shard"})
"""Reasons that another shard has the question."""


class NothingLeftError(ValueError):
    """A drop of which no question can be used."""


class Curated:
    """A curated shard, to be read before its scratch folder is gone."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, shard: Shard, settings: str) -> None:
        self._connection = connection
        self._shard = shard
        self._settings = settings
        counts = connection.execute("select reason, count(*) from rejected group by 1 order by 1")
        self.n_rejected: dict[str, int] = dict(counts.fetchall())
        """Rejected questions by reason."""

    def require_some_left(self, drop: str, warn: Callable[[str], None]) -> None:
        """Say it where no question of a drop stays, with the reasons and one example.

        A drop of which other shards have questions was sent again, whole or in part: that is said
        and breaks nothing, and so is a drop of few questions. Else it is a mistake.

        Raises:
            NothingLeftError: no other shard has any of FEWEST_TELLING questions or more.
        """
        n_rejected = sum(self.n_rejected.values())
        ((n_rows,),) = self._connection.execute("select count(*) from rows").fetchall()
        if not n_rows or n_rejected < n_rows:
            return
        file, line, reason, evidence = self._connection.execute(
            "select drop, line, reason, evidence from rejected order by row limit 1"
        ).fetchall()[0]
        counts = ", ".join(
            f"{name} {n:,}" for name, n in sorted(self.n_rejected.items(), key=lambda one: -one[1])
        )
        said = (
            f"100 % of {n_rows:,} questions of {drop} rejected: {counts}. For example {reason} of "
            f"{file}, line {line}: {evidence}"
        )
        if set(self.n_rejected) & OF_SHARDS:
            warn(f"{said}. It brings nothing new: was it sent again?")
        elif n_rows < FEWEST_TELLING:
            warn(said)
        else:
            raise NothingLeftError(
                f"{said}. Take the drop out of the inbox, or see `dasd docs "
                "bring-your-own-questions` for the settings of curation"
            )

    def questions(self) -> Iterator[pa.RecordBatch]:
        """Questions that stay, in the order of the drop; schema QUESTIONS."""
        ((n_rows,),) = self._connection.execute("select count(*) from rows").fetchall()
        stays = np.ones(n_rows, bool)
        stays[self._connection.sql("select row from rejected").fetchnumpy()["row"]] = False
        for part in in_parts(self._shard.rows):
            kept = np.flatnonzero(stays[part.first : part.first + part.raw.num_rows]).tolist()
            rows = part.raw.take(pa.array(kept, pa.int64()))
            columns = {name: rows[name] for name in QUESTIONS.names if name in rows.schema.names}
            earlier = [messages or None for messages in part.earlier_messages(kept)]
            columns |= {
                "question": pa.array(part.questions(kept), pa.string()),
                "earlier_messages": pa.array(earlier, MESSAGES),
                "question_id": pa.array(part.ids(kept), pa.string()),
            }
            yield pa.RecordBatch.from_arrays(
                [columns[name] for name in QUESTIONS.names], schema=QUESTIONS
            )

    def rejected(self) -> Iterator[pa.RecordBatch]:
        """Questions that do not stay, in the order of the drop; schema REJECTED_QUESTIONS."""
        yield from self._stream(
            "select question_id, drop, line, reason, evidence from rejected order by row",
            REJECTED_QUESTIONS,
        )

    def signatures(self) -> Iterator[pa.RecordBatch]:
        """Band keys of the questions that stay; schema QUESTION_SIGNATURES."""
        yield from self._stream(
            f"""select question_id, {self._shard.order}::int as curation_order,
                       $settings as settings, band_keys
                from members where row not in (select row from rejected)
                order by row""",
            QUESTION_SIGNATURES,
            settings=self._settings,
        )

    def _stream(self, sql: str, schema: pa.Schema, **values: str) -> Iterator[pa.RecordBatch]:
        result = self._connection.cursor().sql(sql, params=values or None)
        for batch in result.to_arrow_reader(BATCH_ROWS):
            yield from pa.Table.from_batches([batch]).cast(schema).to_batches()


@contextmanager
def curated(
    shard: Shard,
    index: QuestionIndex,
    benchmark_questions: pa.Table,
    settings: Questions,
    compute: Compute,
    scratch: Path,
) -> Iterator[Curated]:
    """Normalise, deduplicate and decontaminate the rows of one shard.

    Of equal questions in the drop the first stays; one that another shard has already does not.
    Then evaluation questions are looked for, and near-duplicates in what is left (see
    `near_duplicates` and `buckets`). Every row is in exactly one of the two tables.

    Args:
        shard: the shard to curate.
        index: compares with all other shards that have been curated.
        benchmark_questions: rows with the schema BENCHMARK_QUESTIONS.
        settings: n-gram length and the settings of near-duplicates.
        compute: cores, and memory, half of which DuckDB may use.
        scratch: folder for what does not fit into memory; emptied before and after.
    """
    import duckdb

    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{compute.memory_gib * DUCKDB_SHARE_OF_MEMORY}GiB",
        "threads": max(int(compute.cpus), 1),
        "temp_directory": str(scratch),
    }
    try:
        with duckdb.connect(config=config) as connection:
            _reject_exact(connection, shard, index, benchmark_questions, settings)
            connection.execute(MEMBERS_SQL)
            name = ""
            if settings.near_duplicate_jaccard is not None:
                name = reject_near(connection, shard, index, settings)
            yield Curated(connection, shard, name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


_ROWS_SQL = """
create table shard_names (place integer, name varchar);
create table rows (
    row bigint, question_id varchar, id_key ubigint, drop varchar, line bigint,
    contamination varchar
);
create table taken (id_key ubigint, place integer);
"""

_REJECTED_SQL = """
create table rejected as
with firsts as (
    select question_id, min(row) as row from rows group by question_id
), holders as (
    select id_key, min(name) as shard from taken join shard_names using (place) group by id_key
), judged as (
    select rows.*, firsts.row as first_row, holders.shard as shard
    from rows join firsts using (question_id) left join holders using (id_key)
)
select judged.row, judged.question_id, judged.drop, judged.line,
    case when judged.row > first_row then 'duplicate_in_drop'
         when shard is not null then 'duplicate_of_shard'
         else 'contaminated' end as reason,
    case when judged.row > first_row
         then case when first.drop = judged.drop then '' else first.drop || ' ' end
              || 'line ' || first.line
         when shard is not null then shard
         else judged.contamination end as evidence
from judged join rows as first on first.row = first_row
where judged.row > first_row or shard is not null or judged.contamination is not null
"""


def _reject_exact(
    connection: duckdb.DuckDBPyConnection,
    shard: Shard,
    index: QuestionIndex,
    benchmark_questions: pa.Table,
    settings: Questions,
) -> None:
    """Fill `rejected` with duplicates and contaminated questions."""
    connection.execute(_ROWS_SQL)
    names = index.names()
    places = pa.array(names.keys(), pa.int32())
    shard_names = {"place": places, "name": pa.array(names.values(), pa.string())}
    insert(connection, "shard_names", pa.table(shard_names))
    grams = EvaluationGrams(benchmark_questions, settings.decontamination_ngram_words)
    for part in in_parts(shard.rows):
        indices = range(part.raw.num_rows)
        contamination = grams.matches_of_turns(part.user_turns(indices))
        ids = part.ids(indices)
        rows = pa.table(
            {
                "row": range(part.first, part.first + len(indices)),
                "question_id": ids,
                "id_key": id_keys(ids),
                "drop": part.raw["drop"],
                "line": part.raw["line"],
                "contamination": pa.array(map(contamination.get, indices), pa.string()),
            }
        )
        insert(connection, "rows", rows)
    for keys in ascending(connection, "select id_key from rows"):
        found = index.find(keys, are_bands=False)
        taken = {"id_key": keys[found.indices], "place": found.places.astype(np.int32)}
        insert(connection, "taken", pa.table(taken))
    connection.execute(_REJECTED_SQL)
