"""Rejecting near-duplicates of a shard, against itself and all other shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa

from dasd_assets.profile import Questions
from dasd_assets.questions.curation.buckets import Buckets
from dasd_assets.questions.curation.near_duplicates import Banding, Comparable, comparables
from dasd_assets.questions.curation.shards import OtherShard, Rows, Shard, in_parts, insert

if TYPE_CHECKING:
    import duckdb

MEMBERS_SQL = """
create table members (place integer, row bigint, question_id varchar, band_keys ubigint[]);
create table near (row bigint, place integer, other_row bigint, jaccard double)
"""
"""Questions that are no exact duplicates; place 0 is this shard, earlier ones are below 0."""

_COLLIDING_SQL = """
create table colliding as
with keys as (
    select place, row, unnest(band_keys) as key from members
), shared as (
    select key from keys group by key having count(*) > 1 and bool_or(place = 0)
)
select place, row, list(key order by key) as keys
from keys semi join shared using (key)
group by place, row order by place, row
"""

_COLLIDING_ROWS_SQL = """
select row, question_id, keys from colliding join members using (place, row)
where place = ? and row between ? and ? order by row
"""

_REJECT_NEAR_SQL = """
insert into rejected
select near.row, own.question_id, own.drop, own.line,
    case when near.place = 0 then 'near_duplicate_in_drop' else 'near_duplicate_of_shard' end,
    members.question_id
    || case when near.place <> 0 then ' in ' || name
            when other.drop = own.drop then ' line ' || other.line
            else ' ' || other.drop || ' line ' || other.line end
    || format(' (Jaccard {:.3f})', jaccard)
from near
join rows as own on own.row = near.row
join members on members.place = near.place and members.row = near.other_row
left join shard_names on shard_names.place = near.place
left join rows as other on other.row = near.other_row and near.place = 0
"""


def reject_near(
    connection: duckdb.DuckDBPyConnection,
    shard: Shard,
    others: list[OtherShard],
    settings: Questions,
) -> str:
    """Add near-duplicates to the table `rejected`; fills `members`.

    Returns:
        Name of the settings that the band keys were made with.
    """
    banding = Banding(settings)
    n_words = settings.near_duplicate_shingle_words
    for part in in_parts(shard.rows):
        insert(connection, "members", _own_members(connection, part, banding, n_words))
    placed = _places(others, shard.order)
    for place, other in placed.items():
        first = 0
        for members in _members(place, other, banding, n_words):
            numbers = pa.array(range(first, first + members.num_rows), pa.int64())
            places = pa.array([place] * members.num_rows, pa.int32())
            insert(
                connection,
                "members",
                members.append_column("row", numbers).append_column("place", places),
            )
            first += members.num_rows
    connection.execute(_COLLIDING_SQL)
    _compare(connection, shard, placed, settings)
    return banding.name


def _places(others: list[OtherShard], order: int) -> dict[int, OtherShard]:
    """The other shards in their order, numbered so that this one has 0."""
    by_order = sorted(others, key=lambda other: (other.order, other.name))
    n_earlier = sum(other.order < order for other in others)
    return {index - n_earlier + (index >= n_earlier): other for index, other in enumerate(by_order)}


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
            "place": pa.array([0] * len(left), pa.int32()),
            "row": pa.array([row for row, _ in left], pa.int64()),
            "question_id": pa.array([identity for _, identity in left], pa.string()),
            "band_keys": _band_keys(part, [row - part.first for row, _ in left], banding, n_words),
        }
    )


def _band_keys(part: Rows, indices: Sequence[int], banding: Banding, n_words: int) -> pa.Array:
    compared = _comparable(part, indices, n_words)
    keys = banding.keys(compared)
    lists = [row if len(each.shingles) else [] for row, each in zip(keys, compared, strict=True)]
    return pa.array(lists, pa.list_(pa.uint64()))


def _members(place: int, other: OtherShard, banding: Banding, n_words: int) -> Iterator[pa.Table]:
    """question_id and band_keys of another shard.

    Of an earlier shard they are made anew if it has those of other settings. A later one with
    other settings is stale itself, and will be compared with this one when it is curated again.
    """
    stored = iter(other.signatures())
    first = next(stored, None)
    if first is not None and first["settings"][0].as_py() == banding.name:
        for batch in chain([first], stored):
            yield pa.table({name: batch[name] for name in ("question_id", "band_keys")})
    elif place < 0:
        for part in in_parts(other.questions):
            keys = _band_keys(part, range(part.raw.num_rows), banding, n_words)
            yield pa.table({"question_id": part.raw["question_id"], "band_keys": keys})


def _compare(
    connection: duckdb.DuckDBPyConnection,
    shard: Shard,
    placed: dict[int, OtherShard],
    settings: Questions,
) -> None:
    """Compare what shares a band key; a question is known by its place and its row there."""
    assert settings.near_duplicate_jaccard is not None
    buckets = Buckets(settings.near_duplicate_jaccard)
    n_words = settings.near_duplicate_shingle_words
    for place, other in placed.items():
        add = buckets.add if place < 0 else buckets.add_later
        wanted = {
            identity: (row, keys)
            for row, identity, keys in connection.execute(
                _COLLIDING_ROWS_SQL, [place, 0, 2**62]
            ).fetchall()
        }
        for part in in_parts(other.questions) if wanted else ():
            identities = part.raw["question_id"].to_pylist()
            found = [index for index, identity in enumerate(identities) if identity in wanted]
            for index, comparable in zip(found, _comparable(part, found, n_words), strict=True):
                row, keys = wanted[identities[index]]
                add((place, row), comparable.shingles, keys)
    for part in in_parts(shard.rows):
        last = part.first + part.raw.num_rows - 1
        own = connection.execute(_COLLIDING_ROWS_SQL, [0, part.first, last]).fetchall()
        compared = _comparable(part, [row - part.first for row, _, _ in own], n_words)
        near = []
        for (row, _, keys), comparable in zip(own, compared, strict=True):
            match = buckets.match(comparable.shingles, keys)
            if match is None:
                buckets.add((0, row), comparable.shingles, keys)
            else:
                near.append((row, *match.question, match.jaccard))
        if near:
            insert(connection, "near", _near_table(near))
    shard_names = {"place": list(placed), "name": [other.name for other in placed.values()]}
    connection.register(
        "shard_names",
        pa.table(shard_names, pa.schema([("place", pa.int32()), ("name", pa.string())])),
    )
    connection.execute(_REJECT_NEAR_SQL)


def _comparable(part: Rows, indices: Sequence[int], n_words: int) -> list[Comparable]:
    return comparables(part.conversations(indices), part.domains(indices), n_words)


def _near_table(near: list[tuple[int, int, int, float]]) -> pa.Table:
    columns = zip(*near, strict=True)
    return pa.table(dict(zip(("row", "place", "other_row", "jaccard"), columns, strict=True)))
