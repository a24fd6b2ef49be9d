"""The shards that are in the lake, as curation compares with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dasd_assets.profile import Questions
from dasd_assets.questions.curation.index.question_index import QuestionIndex
from dasd_assets.questions.curation.shards import OTHER_COLUMNS, OtherShard, Shard

if TYPE_CHECKING:
    from resources.lake.lake import Lake, Partition

_TABLES = ("questions", "question_signatures")


def shard_to_curate(
    lake: Lake, shard: Partition, settings: Questions
) -> tuple[Shard, QuestionIndex]:
    """The raw rows of a shard with its place in the order, and the index of all other shards."""
    index = QuestionIndex(lake, settings)
    others = other_shards(lake, shard, index)
    order = _order(lake, shard) or _free_place(others, lake.exists("questions", shard))
    index.compare_with(others, order)
    return Shard(lambda: lake.batches("raw_questions", shard), order), index


def other_shards(lake: Lake, shard: Partition, index: QuestionIndex) -> list[OtherShard]:
    """All curated shards but one.

    A shard keeps the place it got when it was first curated; a new one stands behind all others. Of
    one whose signatures are gone or damaged the questions are compared all the same. One whose
    questions are damaged is left out unless the index has them: it has to be curated again, and is
    then compared with this.
    """
    files = {name: entry for table in _TABLES for name, entry in lake.listing(f"{table}/").items()}
    found = []
    for other in lake.partitions("questions"):
        if other == dict(shard):
            continue
        name = next(iter(other.values()))
        version = " ".join(str(files.get(lake.name(table, other))) for table in _TABLES)
        order = index.order(name, version)
        if order is None and not lake.is_whole("questions", other):
            continue
        found.append(
            OtherShard(
                name=name,
                order=_order(lake, other) if order is None else order,
                version=version,
                questions=lambda other=other: lake.batches(  # type: ignore[misc]
                    "questions", other, OTHER_COLUMNS
                ),
                signatures=lambda other=other: (  # type: ignore[misc]
                    lake.batches("question_signatures", other)
                    if lake.is_whole("question_signatures", other)
                    else ()
                ),
            )
        )
    return found


def _free_place(others: list[OtherShard], was_curated: bool) -> int:
    """The place behind all others; of a shard whose own place was lost, one that is free."""
    taken = {other.order for other in others}
    behind = 1 + max(taken, default=0)
    return min(set(range(1, behind + 1)) - taken) if was_curated else behind


def _order(lake: Lake, shard: Partition) -> int:
    """The place of a shard; 0 if it is not recorded, or not to be read any more."""
    if not lake.is_whole("question_signatures", shard):
        return 0
    batches = lake.batches("question_signatures", shard, ["curation_order"])
    first = next((batch for batch in batches if batch.num_rows), None)
    return 0 if first is None else int(first["curation_order"][0].as_py())
