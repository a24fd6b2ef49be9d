"""Checks on filtered answers: nothing is lost between sampling and training."""

from collections.abc import Iterator

import dagster as dg
import pyarrow.compute as pc

from checks.declare import Check, Verdict, asset_checks
from dasd_assets.partitions import response_partition, responses
from dasd_assets.profile import Profile
from resources.lake import Lake

NONE_LOST = Check("none_lost", "Every answer is either kept or rejected.", blocking=True)
EVERY_REJECT_HAS_A_RULE = Check(
    "every_reject_has_a_rule", "Every rejected answer names a rule that it breaks.", blocking=True
)
ONE_LOGPROB_PER_TOKEN = Check(
    "one_logprob_per_token",
    "Every token of every kept answer has one finite logprob of the teacher.",
    blocking=True,
)
MOST_KEPT = Check("most_kept", "At least half of the answers pass the rules.")
MIN_KEPT = 0.5


def build(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """Checks of the box for one profile."""
    checks = [NONE_LOST, EVERY_REJECT_HAS_A_RULE, ONE_LOGPROB_PER_TOKEN, MOST_KEPT]
    return [asset_checks("filtered_responses", checks, _check, responses(profile))]


def _check(context: dg.AssetCheckExecutionContext, lake: Lake) -> Iterator[Verdict]:
    cell = response_partition(context.partition_key)
    sampled = set(_ids(lake, "teacher_responses", cell))
    columns = ["response_id", "n_teacher_tokens", "teacher_logprobs"]
    filtered = lake.read("filtered_responses", cell, columns)
    kept = filtered["response_id"].to_pylist()
    rejected = lake.read("rejected_responses", cell, ["response_id", "broken_rules"])
    rejected_ids = rejected["response_id"].to_pylist()
    accounted = sorted(kept + rejected_ids) == sorted(sampled)
    lost = sorted(sampled - set(kept) - set(rejected_ids))
    yield Verdict(
        NONE_LOST, accounted, len(kept) + len(rejected_ids), f"{len(sampled)} answers", tuple(lost)
    )
    unexplained = [row["response_id"] for row in rejected.to_pylist() if not row["broken_rules"]]
    yield Verdict(
        EVERY_REJECT_HAS_A_RULE, not unexplained, len(unexplained), "0", tuple(unexplained)
    )
    unequal = pc.not_equal(
        filtered["n_teacher_tokens"], pc.list_value_length(filtered["teacher_logprobs"])
    )
    finite = pc.is_finite(pc.list_flatten(filtered["teacher_logprobs"]))
    non_finite = pc.sum(pc.invert(finite)).as_py() or 0
    wrong = filtered.filter(unequal)["response_id"].to_pylist()
    yield Verdict(
        ONE_LOGPROB_PER_TOKEN,
        not wrong and not non_finite,
        {"answers_with_other_counts": len(wrong), "non_finite": non_finite},
        "none",
        tuple(wrong),
    )
    share = len(kept) / max(len(sampled), 1)
    yield Verdict(MOST_KEPT, share >= MIN_KEPT, share, f"at least {MIN_KEPT:.0%}")


def _ids(lake: Lake, table: str, cell: dict[str, str]) -> list[str]:
    return lake.read(table, cell, ["response_id"])["response_id"].to_pylist()
