"""Rejecting near-duplicates of a shard, against itself and all other shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from dasd_assets.profile import Questions
from dasd_assets.questions.curation.banded_rows import band_keys, comparable_rows
from dasd_assets.questions.curation.buckets import MAX_COMPARED, Buckets, Question
from dasd_assets.questions.curation.index.question_index import Found, QuestionIndex
from dasd_assets.questions.curation.index.sorted_runs import Numbers
from dasd_assets.questions.curation.near_duplicates import Banding, comparables
from dasd_assets.questions.curation.shards import Rows, Shard, ascending, in_parts, insert

if TYPE_CHECKING:
    import duckdb

MEMBERS_SQL = """
create table members (row bigint, question_id varchar, band_keys ubigint[]);
create table elsewhere (key ubigint, place integer, row bigint);
create table near (row bigint, place integer, question_id varchar, jaccard double)
"""
"""`members`: questions of this shard that are no exact duplicates; `elsewhere`: those of other
shards that share a key with one of them."""

_COLLIDING_SQL = """
create table colliding as
with own as (
    select row, unnest(band_keys) as key from members
), shared as (
    select key from own group by key having count(*) > 1 union select key from elsewhere
)
select row, list(key order by key) as keys
from own semi join shared using (key) group by row order by row
"""

_COLLIDING_ELSEWHERE_SQL = """
select row, list(key) from elsewhere where place = ? group by row order by row
"""

_REJECT_NEAR_SQL = """
insert into rejected
select near.row, own.question_id, own.drop, own.line,
    case when near.place = 0 then 'near_duplicate_in_drop' else 'near_duplicate_of_shard' end,
    near.question_id
    || case when near.place <> 0 then ' in ' || name
            when other.drop = own.drop then ' line ' || other.line
            else ' ' || other.drop || ' line ' || other.line end
    || format(' (Jaccard {:.3f})', jaccard)
from near
join rows as own on own.row = near.row
left join shard_names on shard_names.place = near.place
left join members on near.place = 0 and members.question_id = near.question_id
left join rows as other on other.row = members.row
"""


def reject_near(
    connection: duckdb.DuckDBPyConnection,
    shard: Shard,
    index: QuestionIndex,
    settings: Questions,
) -> str:
    """Add near-duplicates to the table `rejected`; fills `members`.

    Args:
        connection: has `shard_names`, `rows` and `rejected`.
        shard: the shard to curate.
        index: looks up in the other shards.
        settings: those of near-duplicates.

    Returns:
        Name of the settings that the band keys were made with.
    """
    assert index.banding is not None
    n_words = settings.near_duplicate_shingle_words
    for part in in_parts(shard.rows):
        insert(connection, "members", _own_members(connection, part, index.banding, n_words))
    for keys in ascending(connection, "select unnest(band_keys) from members"):
        insert(connection, "elsewhere", _first_members(keys, index.find(keys, are_bands=True)))
    connection.execute(_COLLIDING_SQL)
    _compare(connection, shard, index, settings)
    return index.banding.name


def _first_members(keys: Numbers, found: Found) -> pa.Table:
    """Those of the other shards' questions that a key in common can make compared with.

    Of each key these are the first MAX_COMPARED of earlier shards, which no other is looked at
    behind, and all of later ones.
    """
    order = np.lexsort((found.rows, found.places, found.indices))
    indices, places = found.indices[order], found.places[order]
    number = np.arange(len(order)) - np.searchsorted(indices, indices)
    stays = (places > 0) | (number < MAX_COMPARED)
    return pa.table(
        {
            "key": keys[indices[stays]],
            "place": places[stays].astype(np.int32),
            "row": found.rows[order][stays],
        }
    )


def _own_members(
    connection: duckdb.DuckDBPyConnection, part: Rows, banding: Banding, n_words: int
) -> pa.Table:
    left = connection.execute(
        """select row, question_id from rows
           where row between ? and ? and row not in (select row from rejected) order by row""",
        [part.first, part.first + part.raw.num_rows - 1],
    ).fetchall()
    return pa.table(
        {
            "row": pa.array([row for row, _ in left], pa.int64()),
            "question_id": pa.array([identity for _, identity in left], pa.string()),
            "band_keys": band_keys(part, [row - part.first for row, _ in left], banding, n_words),
        }
    )


def _compare(
    connection: duckdb.DuckDBPyConnection,
    shard: Shard,
    index: QuestionIndex,
    settings: Questions,
) -> None:
    """Compare what shares a band key; a question is known by its place and its row there."""
    assert settings.near_duplicate_jaccard is not None
    buckets = Buckets(settings.near_duplicate_jaccard)
    n_words = settings.near_duplicate_shingle_words
    identities: dict[Question, str] = {}
    places = connection.execute("select distinct place from elsewhere order by place").fetchall()
    for (place,) in places:
        add = buckets.add if place < 0 else buckets.add_later
        wanted = connection.execute(_COLLIDING_ELSEWHERE_SQL, [place]).fetchall()
        asked = iter(wanted)
        for rows in index.rows(place, [row for row, _ in wanted]):
            compared = comparables(
                [row.conversation for row in rows], [row.domain for row in rows], n_words
            )
            for row, comparable, (number, keys) in zip(rows, compared, asked, strict=False):
                identities[place, number] = row.question_id
                add((place, number), comparable.shingles, keys)
    for part in in_parts(shard.rows):
        last = part.first + part.raw.num_rows - 1
        own = connection.execute(
            """select row, question_id, keys from colliding join members using (row)
               where row between ? and ? order by row""",
            [part.first, last],
        ).fetchall()
        compared = comparable_rows(part, [row - part.first for row, _, _ in own], n_words)
        near = []
        for (row, identity, keys), comparable in zip(own, compared, strict=True):
            match = buckets.match(comparable.shingles, keys)
            if match is None:
                buckets.add((0, row), comparable.shingles, keys)
                identities[0, row] = identity
            else:
                place, _ = match.question
                near.append((row, place, identities[match.question], match.jaccard))
        if near:
            insert(connection, "near", _near_table(near))
    connection.execute(_REJECT_NEAR_SQL)


def _near_table(near: list[tuple[int, int, str, float]]) -> pa.Table:
    columns = zip(*near, strict=True)
    return pa.table(dict(zip(("row", "place", "question_id", "jaccard"), columns, strict=True)))
