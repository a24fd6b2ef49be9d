"""Checks on evaluations: every question answered as often as the profile says."""

from collections.abc import Iterator

import dagster as dg

from checks.declare import Check, Run, Verdict, asset_checks
from dasd_assets.evaluation.assets import CHECKPOINT_ASSETS
from dasd_assets.partitions import benchmarks
from dasd_assets.profile import Profile
from resources.lake import Lake

ALL_ANSWERED = Check("all_answered", "Every question has k graded answers.", blocking=True)
FEW_TRUNCATED = Check("few_truncated", "At most 20 % of the answers hit max_tokens.")
MAX_TRUNCATED = 0.2


def build(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """Checks of the box for one profile."""
    return [
        asset_checks(
            dg.AssetKey(["evaluation", checkpoint]),
            [ALL_ANSWERED, FEW_TRUNCATED],
            _check(checkpoint, profile.evaluation.samples_per_question),
            benchmarks(profile),
        )
        for checkpoint in CHECKPOINT_ASSETS
    ]


def _check(checkpoint: str, samples_per_question: int) -> Run:
    def check(context: dg.AssetCheckExecutionContext, lake: Lake) -> Iterator[Verdict]:
        benchmark = {"benchmark": context.partition_key}
        rows = lake.read("evaluation", {"checkpoint": checkpoint, **benchmark}, ["finish_reason"])
        n_questions = lake.read("benchmark_questions", benchmark, ["question_id"]).num_rows
        expected = n_questions * samples_per_question
        yield Verdict(ALL_ANSWERED, rows.num_rows == expected, rows.num_rows, f"{expected} answers")
        truncated = rows["finish_reason"].to_pylist().count("length") / max(rows.num_rows, 1)
        yield Verdict(
            FEW_TRUNCATED, truncated <= MAX_TRUNCATED, truncated, f"at most {MAX_TRUNCATED:.0%}"
        )

    return check
