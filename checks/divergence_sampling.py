"""Checks on scores, provenance and the sample."""

from collections.abc import Iterator

import dagster as dg
import pyarrow.compute as pc

from checks.declare import Check, Verdict, asset_checks
from dasd_assets.partitions import TEMPERATURE, response_partition, responses, temperatures
from dasd_assets.profile import Profile
from resources.lake import Lake

EVERY_RESPONSE_SCORED = Check(
    "every_response_scored", "Every filtered response has exactly one score.", blocking=True
)
PROBABILITIES_IN_RANGE = Check(
    "probabilities_in_range", "Sentence probabilities lie between 0 and 1.", blocking=True
)
BUDGET_MET = Check("budget_met", "As many responses are selected as the budget asks for.")
ANSWERS_PER_QUESTION = Check(
    "answers_per_question",
    "No question has more selected answers than the profile allows.",
    blocking=True,
)
NOT_EMPTY = Check("not_empty", "At least one response is selected.", blocking=True)


def build(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """Checks of the box for one profile."""
    settings = profile.divergence_sampling

    def sample(context: dg.AssetCheckExecutionContext, lake: Lake) -> Iterator[Verdict]:
        rows = lake.read("divergence_sample", {TEMPERATURE: context.partition_key}, ["question_id"])
        budget = settings.budget_samples[context.partition_key]
        yield Verdict(NOT_EMPTY, rows.num_rows > 0, rows.num_rows, "at least 1")
        yield Verdict(BUDGET_MET, rows.num_rows == budget, rows.num_rows, f"{budget} samples")
        counts = pc.value_counts(rows["question_id"]).to_pylist()
        most = settings.max_answers_per_question
        over = [row["values"] for row in counts if row["counts"] > most]
        yield Verdict(
            ANSWERS_PER_QUESTION, not over, len(over), f"0 questions over {most}", tuple(over)
        )

    grid = responses(profile)
    return [
        asset_checks("student_scores", [EVERY_RESPONSE_SCORED], _scores, grid),
        asset_checks("sentence_provenance", [PROBABILITIES_IN_RANGE], _provenance, grid),
        asset_checks(
            "divergence_sample",
            [NOT_EMPTY, BUDGET_MET, ANSWERS_PER_QUESTION],
            sample,
            temperatures(profile),
        ),
    ]


def _scores(context: dg.AssetCheckExecutionContext, lake: Lake) -> Iterator[Verdict]:
    cell = response_partition(context.partition_key)
    filtered = lake.read("filtered_responses", cell, ["response_id"])["response_id"].to_pylist()
    scored = lake.read("student_scores", cell, ["response_id"])["response_id"].to_pylist()
    unequal = sorted(set(filtered) ^ set(scored))
    yield Verdict(
        EVERY_RESPONSE_SCORED,
        sorted(filtered) == sorted(scored),
        len(scored),
        f"{len(filtered)} scores",
        tuple(unequal),
    )


def _provenance(context: dg.AssetCheckExecutionContext, lake: Lake) -> Iterator[Verdict]:
    cell = response_partition(context.partition_key)
    columns = ["response_id", "p_teacher", "p_student"]
    rows = lake.read("sentence_provenance", cell, columns)
    bad = [
        row["response_id"]
        for row in rows.to_pylist()
        for p in (row["p_teacher"], row["p_student"])
        if p is not None and not 0.0 <= p <= 1.0
    ]
    yield Verdict(PROBABILITIES_IN_RANGE, not bad, len(bad), "0 out of range", tuple(bad))
