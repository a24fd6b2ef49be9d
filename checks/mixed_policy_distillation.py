"""Checks on rollouts, continuations and the mixed-policy sample."""

from collections.abc import Iterator

import dagster as dg

from checks.declare import Check, Verdict, asset_checks
from checks.temperature_scheduled_learning import checkpoint_checks
from dasd_assets.partitions import QUESTION_SHARD, question_shards
from dasd_assets.profile import Profile
from resources.lake import Lake

WITHIN_CAP = Check(
    "within_cap", "No rollout is longer than its cap of the teacher's length.", blocking=True
)
EVERY_TRUNCATED_CONTINUED = Check(
    "every_truncated_continued", "Every truncated rollout has one continuation.", blocking=True
)
HAS_MIXED_POLICY = Check(
    "has_mixed_policy", "The sample has answers that student and teacher wrote together.",
    blocking=True,
)  # fmt: skip
PREFIX_WITHIN_TEXT = Check(
    "prefix_within_text", "The student's prefix ends before the response does.", blocking=True
)


def build(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """Checks of the box for one profile."""
    return [
        asset_checks("student_rollouts", [WITHIN_CAP], _rollouts, question_shards),
        asset_checks(
            "teacher_continuations", [EVERY_TRUNCATED_CONTINUED], _continuations, question_shards
        ),
        asset_checks("mixed_policy_sample", [HAS_MIXED_POLICY, PREFIX_WITHIN_TEXT], _sample),
        checkpoint_checks("dasd_checkpoint", "dasd"),
    ]


def _rollouts(context: dg.AssetCheckExecutionContext, lake: Lake) -> Iterator[Verdict]:
    shard = {QUESTION_SHARD: context.partition_key}
    rows = lake.read("student_rollouts", shard, ["rollout_id", "token_ids", "max_tokens"])
    over = [
        row["rollout_id"] for row in rows.to_pylist() if len(row["token_ids"]) > row["max_tokens"]
    ]
    yield Verdict(WITHIN_CAP, not over, len(over), "0 over the cap", tuple(over))


def _continuations(context: dg.AssetCheckExecutionContext, lake: Lake) -> Iterator[Verdict]:
    shard = {QUESTION_SHARD: context.partition_key}
    rollouts = lake.read("student_rollouts", shard, ["rollout_id", "is_truncated"])
    truncated = set(rollouts.filter(rollouts["is_truncated"])["rollout_id"].to_pylist())
    continued = lake.read("teacher_continuations", shard, ["rollout_id"])["rollout_id"].to_pylist()
    missing = sorted(truncated ^ set(continued))
    passed = not missing and len(continued) == len(truncated)
    yield Verdict(
        EVERY_TRUNCATED_CONTINUED, passed, len(continued), f"{len(truncated)}", tuple(missing)
    )


def _sample(context: dg.AssetCheckExecutionContext, lake: Lake) -> Iterator[Verdict]:
    columns = ["sample_id", "policy", "response_text", "student_prefix_bytes"]
    rows = lake.read("mixed_policy_sample", columns=columns).to_pylist()
    mixed = [row for row in rows if row["policy"] == "mixed_policy"]
    yield Verdict(HAS_MIXED_POLICY, bool(mixed), len(mixed), "at least 1")
    over = [
        row["sample_id"]
        for row in mixed
        if not 0 < row["student_prefix_bytes"] < len(row["response_text"].encode())
    ]
    yield Verdict(PREFIX_WITHIN_TEXT, not over, len(over), "0 beyond the text", tuple(over))
