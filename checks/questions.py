"""Checks on question drops and curated questions."""

from collections.abc import Iterator

import dagster as dg

from checks.declare import Check, Verdict, asset_checks
from dasd_assets.partitions import QUESTION_SHARD, question_shards
from dasd_assets.profile import Profile
from resources.lake import Lake

HAS_USABLE_ROWS = Check(
    "has_usable_rows", "The drop has at least one row that can be used.", blocking=True
)
FEW_QUARANTINED = Check("few_quarantined", "At most 5 % of the drop's rows are quarantined.")
MAX_QUARANTINED = 0.05

UNIQUE_IN_ALL_SHARDS = Check(
    "unique_in_all_shards", "No question of this shard is in another shard too.", blocking=True
)
NONE_LOST = Check(
    "none_lost", "Every delivered row is either a question or a reject.", blocking=True
)


def build(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """Checks of the box for one profile."""
    return [
        asset_checks("raw_questions", [HAS_USABLE_ROWS, FEW_QUARANTINED], _raw, question_shards),
        asset_checks("questions", [UNIQUE_IN_ALL_SHARDS, NONE_LOST], _curated, question_shards),
    ]


def _raw(context: dg.AssetCheckExecutionContext, lake: Lake) -> Iterator[Verdict]:
    shard = {QUESTION_SHARD: context.partition_key}
    usable = lake.read("raw_questions", shard, ["line"]).num_rows
    quarantined = lake.read("quarantined_rows", shard)
    examples = tuple(
        f"{row['drop']}:{row['line']}: {row['reason']} ({row['evidence']})"
        for row in quarantined.slice(0, 5).to_pylist()
    )
    yield Verdict(HAS_USABLE_ROWS, usable > 0, usable, "at least 1 usable row", examples)
    share = quarantined.num_rows / max(usable + quarantined.num_rows, 1)
    yield Verdict(
        FEW_QUARANTINED, share <= MAX_QUARANTINED, share, f"at most {MAX_QUARANTINED:.0%}", examples
    )


def _curated(context: dg.AssetCheckExecutionContext, lake: Lake) -> Iterator[Verdict]:
    shard = {QUESTION_SHARD: context.partition_key}
    everywhere = lake.read_partitions("questions", ["question_id"])
    here = lake.read("questions", shard, ["question_id"])["question_id"].to_pylist()
    others = {
        row["question_id"]
        for row in everywhere.to_pylist()
        if row[QUESTION_SHARD] != context.partition_key
    }
    twice = sorted(others.intersection(here)) + sorted({i for i in here if here.count(i) > 1})
    yield Verdict(UNIQUE_IN_ALL_SHARDS, not twice, len(twice), "0 repeated", tuple(twice))
    delivered = lake.read("raw_questions", shard, ["line"]).num_rows
    rejected = lake.read("rejected_questions", shard, ["line"]).num_rows
    yield Verdict(
        NONE_LOST, delivered == len(here) + rejected, delivered - len(here) - rejected, "0 lost"
    )
