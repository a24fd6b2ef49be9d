"""Checks on sampled answers: all there, and their logprobs are what they say."""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from checks.declare import Check, Verdict, asset_checks
from dasd_assets.partitions import QUESTION_SHARD, TEMPERATURE, response_partition, responses
from dasd_assets.profile import Profile
from resources.lake import Lake

ALL_ANSWERED = Check(
    "all_answered", "Every question of the shard has its number of answers.", blocking=True
)
RAW_LOGPROBS = Check(
    "raw_logprobs",
    "All logprobs are the teacher's own at temperature 1 (`raw_logprobs`), none is mixed in.",
    blocking=True,
)
ONE_LOGPROB_PER_TOKEN = Check(
    "one_logprob_per_token",
    "Every emitted token has one finite logprob. Filtering rejects the answers that break this.",
)
FEW_TRUNCATED = Check("few_truncated", "At most 20 % of the answers hit max_tokens.")
MAX_TRUNCATED = 0.2


def build(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """Checks of the box for one profile."""
    samples = profile.teacher_responses.samples_per_question

    def check(context: dg.AssetCheckExecutionContext, lake: Lake) -> Iterator[Verdict]:
        cell = response_partition(context.partition_key)
        columns = ["response_id", "token_ids", "logprobs", "logprobs_mode", "finish_reason"]
        rows = lake.read("teacher_responses", cell, columns)
        questions = lake.read("questions", {QUESTION_SHARD: cell[QUESTION_SHARD]}, ["question_id"])
        expected = questions.num_rows * samples[cell[TEMPERATURE]]
        yield Verdict(ALL_ANSWERED, rows.num_rows == expected, rows.num_rows, f"{expected} answers")

        modes = sorted(pc.unique(rows["logprobs_mode"]).to_pylist())
        yield Verdict(RAW_LOGPROBS, modes in ([], ["raw_logprobs"]), modes, "raw_logprobs only")

        unequal = pc.not_equal(
            pc.list_value_length(rows["token_ids"]), pc.list_value_length(rows["logprobs"])
        )
        finite = pc.is_finite(pc.list_flatten(rows["logprobs"]))
        places = pc.unique(pc.list_parent_indices(rows["logprobs"]).filter(pc.invert(finite)))
        non_finite = pc.is_in(pa.array(range(rows.num_rows)), places)
        unusable = rows.filter(pc.or_(unequal, non_finite))["response_id"].to_pylist()
        yield Verdict(
            ONE_LOGPROB_PER_TOKEN,
            not unusable,
            {
                "unusable_answers": len(unusable),
                "with_other_counts": pc.sum(unequal).as_py() or 0,
                "with_non_finite": len(places),
            },
            "0 answers",
            tuple(unusable),
        )
        truncated = pc.sum(pc.equal(rows["finish_reason"], "length")).as_py() or 0
        share = truncated / max(rows.num_rows, 1)
        yield Verdict(FEW_TRUNCATED, share <= MAX_TRUNCATED, share, f"at most {MAX_TRUNCATED:.0%}")

    checks = [ALL_ANSWERED, RAW_LOGPROBS, ONE_LOGPROB_PER_TOKEN, FEW_TRUNCATED]
    return [asset_checks("teacher_responses", checks, check, responses(profile))]
