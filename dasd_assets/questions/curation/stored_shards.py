"""The shards that are in the lake, as curation compares with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dasd_assets.questions.curation.shards import OTHER_COLUMNS, OtherShard, Shard

if TYPE_CHECKING:
    from resources.lake.lake import Lake, Partition


def shard_to_curate(lake: Lake, shard: Partition) -> tuple[Shard, list[OtherShard]]:
    """The raw rows of a shard with its place in the order, and all other curated shards.

    A shard keeps the place it got when it was first curated; a new one stands behind all others. Of
    one whose signatures are gone or damaged the questions are compared all the same. One whose
    questions are damaged is left out: it has to be curated again, and is then compared with this.
    """
    others = [
        OtherShard(
            name=next(iter(other.values())),
            order=_order(lake, other),
            questions=lambda other=other: lake.batches(  # type: ignore[misc]
                "questions", other, OTHER_COLUMNS
            ),
            signatures=lambda other=other: (  # type: ignore[misc]
                lake.batches("question_signatures", other)
                if lake.is_whole("question_signatures", other)
                else ()
            ),
        )
        for other in lake.partitions("questions")
        if other != dict(shard) and lake.is_whole("questions", other)
    ]
    order = _order(lake, shard) or _free_place(others, lake.exists("questions", shard))
    return Shard(lambda: lake.batches("raw_questions", shard), order), others


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
