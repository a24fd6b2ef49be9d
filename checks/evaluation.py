"""Checks on evaluations: every question answered as often as the profile says."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from checks.checked_partition import CheckedPartition
from checks.declare import Measure, asset_checks
from checks.drift import Summary
from checks.expectations import Measurement
from checks.logprobs import logprob_checks
from checks.provenance import probability_checks
from checks.row_rules import ALL_GRADED, rows_that_break
from dasd_assets.evaluation import assets
from dasd_assets.partitions import benchmarks
from dasd_assets.profile import Profile
from dasd_assets.reporting.metrics import NO_FINAL_ANSWER

_ANSWER = "question_id || ':' || sample_index"


def build(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """Checks of the box for one profile."""
    measures = {
        "evaluation": _answers(profile.evaluation.samples_per_question),
        "evaluation_teacher_scores": _teacher_scores,
        "evaluation_provenance": _provenance,
    }
    return [
        asset_checks(
            profile, asset.key, measures[asset.key.path[0]],
            partitions_def=benchmarks(profile), dimension="benchmark",
            checkpoint=asset.key.path[1],
        )
        for asset in assets.build(profile)
        if asset.key.path[0] in measures
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
        yield rows_that_break(data, "evaluation", _ANSWER, ALL_GRADED)
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


def _teacher_scores(data: CheckedPartition) -> Iterator[Measurement | Summary]:
    yield from logprob_checks(data, "evaluation_teacher_scores")
    rows = data.row(
        """select count(*) as n, avg((left_out is not null)::int) as left_out,
                  avg(len(token_ids)) as tokens from evaluation_teacher_scores"""
    )
    _, ids = data.broken(
        """select answer_id || ': ' || left_out from evaluation_teacher_scores
           where left_out is not null"""
    )
    yield Measurement("few_left_out", {data.name(): rows["left_out"]} if rows["n"] else {}, ids)
    yield Summary(rows["n"], {"tokens": rows["tokens"]} if rows["n"] else {})


def _provenance(data: CheckedPartition) -> Iterator[Measurement | Summary]:
    classes = yield from probability_checks(data, "evaluation_provenance", "answer_id")
    rows = data.row(
        """select count(*) as n, avg(p_teacher) as p_teacher, avg(p_student) as p_student,
                  avg(p_distilled) as p_distilled from evaluation_provenance"""
    )
    n_rows = rows.pop("n")
    yield Summary(n_rows, rows if n_rows else {}, classes)
