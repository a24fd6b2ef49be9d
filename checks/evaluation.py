"""Checks on evaluations: every question answered as often as the profile says."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from checks.checked_partition import CheckedPartition
from checks.declare import Measure, asset_checks
from checks.drift import Summary
from checks.expectations import Measurement
from dasd_assets.evaluation.assets import CHECKPOINT_ASSETS
from dasd_assets.evaluation.evaluate import UNUSABLE_REFERENCE
from dasd_assets.partitions import benchmarks
from dasd_assets.profile import Profile
from dasd_assets.reporting.metrics import NO_FINAL_ANSWER

_ANSWER = "question_id || ':' || sample_index"


def build(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """Checks of the box for one profile."""
    return [
        asset_checks(
            profile, dg.AssetKey(["evaluation", checkpoint]),
            _answers(profile.evaluation.samples_per_question),
            partitions_def=benchmarks(profile), dimension="benchmark", checkpoint=checkpoint,
        )
        for checkpoint in CHECKPOINT_ASSETS
    ]  # fmt: skip


def _answers(samples_per_question: int) -> Measure:
    def measure(data: CheckedPartition) -> Iterator[Measurement | Summary]:
        data.view("benchmark_questions", "benchmark")
        off, ids = data.broken(
            """select question_id from benchmark_questions left join
                   (select question_id, count(*) as n from evaluation group by 1)
                   using (question_id)
               where coalesce(n, 0) <> $k""",
            k=samples_per_question,
        )
        yield Measurement("all_answered", {data.name(): off}, ids)
        unknown, ids = data.broken(
            "select question_id from evaluation anti join benchmark_questions using (question_id)"
        )
        yield Measurement("known_questions", {data.name(): unknown}, ids)
        ungraded, ids = data.broken(
            f"select {_ANSWER} from evaluation where verdict = $verdict",
            verdict=UNUSABLE_REFERENCE,
        )
        yield Measurement("all_graded", {data.name(): ungraded}, ids)
        rows = data.row(
            """select count(*) as n, avg(n_tokens) as tokens,
                      avg((finish_reason = 'length')::int) as truncated,
                      avg((verdict = $verdict)::int) filter (finish_reason <> 'length') as silent,
                      avg(is_correct::int) as correct from evaluation""",
            verdict=NO_FINAL_ANSWER,
        )
        if not rows["n"]:
            yield Measurement("few_truncated", {})
            yield Measurement("few_without_answer", {})
            yield Summary(0)
            return
        _, ids = data.broken(f"select {_ANSWER} from evaluation where finish_reason = 'length'")
        yield Measurement("few_truncated", {data.name(): rows["truncated"]}, ids)
        _, ids = data.broken(
            f"""select {_ANSWER} from evaluation
                where verdict = $verdict and finish_reason <> 'length'""",
            verdict=NO_FINAL_ANSWER,
        )
        yield Measurement("few_without_answer", {data.name(): rows["silent"] or 0.0}, ids)
        measured = {name: rows[name] for name in ("truncated", "correct")}
        yield Summary(rows["n"], {"tokens": rows["tokens"]}, measured)

    return measure
