"""Checks on rollouts, continuations and the mixed-policy sample."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from checks.checked_partition import CheckedPartition, share
from checks.declare import Measure, asset_checks
from checks.drift import Summary
from checks.expectations import Measurement
from checks.questions import domain_shares
from checks.row_rules import (
    POSITIVE_WEIGHT,
    PREFIX_WITHIN_TEXT,
    REPETITIVE,
    cut_in_range,
    rows_that_break,
    within_cap,
    within_context,
)
from checks.teacher_responses import known_questions, sampled
from checks.temperature_scheduled_learning import checkpoint_checks, training_set_checks
from dasd_assets.partitions import QUESTION_SHARD, question_shards
from dasd_assets.profile import Profile

_BROKEN = "(coalesce(len(broken_rules), 0) > 0)"
"""SQL that is true of a rollout that cannot be used."""


def build(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """Checks of the box for one profile."""
    if profile.no_mixed_policy:
        return []
    settings = profile.mixed_policy
    return [
        asset_checks(
            profile, "student_rollouts", _rollouts(settings.cap_ratio),
            partitions_def=question_shards, dimension=QUESTION_SHARD,
        ),
        asset_checks(
            profile, "teacher_continuations", _continuations(settings.min_cut_fraction),
            partitions_def=question_shards, dimension=QUESTION_SHARD,
        ),
        asset_checks(profile, "mixed_policy_sample", _sample(profile)),
        training_set_checks(
            profile, "mixed_policy_training_set", "dasd", "mixed_policy_sample", "sample_id"
        ),
        checkpoint_checks(profile, "dasd_checkpoint", "dasd", is_last_stage=True),
    ]  # fmt: skip


def _rollouts(cap_ratio: float) -> Measure:
    def measure(data: CheckedPartition) -> Iterator[Measurement | Summary]:
        data.view_all("divergence_sample")
        yield rows_that_break(data, "student_rollouts", "rollout_id", within_cap(cap_ratio))
        unknown, ids = data.broken(
            """select rollout_id from student_rollouts
               anti join divergence_sample as d using (response_id)
               union all
               select rollout_id from student_rollouts as r join divergence_sample as d
               using (response_id) where r.n_teacher_response_tokens <> d.n_student_tokens"""
        )
        yield Measurement("known_responses", {data.name(): unknown}, ids)
        rows = data.row(
            f"select count(*) as n, count(*) filter ({_BROKEN}) as broken from student_rollouts"
        )
        rejected = {data.name(): rows["broken"] / rows["n"]} if rows["n"] else {}
        yield Measurement("few_rejected", rejected, _broken_rollouts(data))
        yield from sampled(data, "student_rollouts", "truncation_rate")

    return measure


def _continuations(min_cut_fraction: float) -> Measure:
    def measure(data: CheckedPartition) -> Iterator[Measurement | Summary]:
        data.view("student_rollouts", QUESTION_SHARD)
        off, ids = data.broken(
            f"""select coalesce(r.rollout_id, c.rollout_id) from
                   (select rollout_id from student_rollouts
                    where is_truncated and not {_BROKEN}) as r
               full join (select rollout_id, count(*) as n from teacher_continuations group by 1)
                   as c using (rollout_id)
               where r.rollout_id is null or coalesce(n, 0) <> 1"""
        )
        yield Measurement("every_truncated_continued", {data.name(): off}, ids)
        cut = cut_in_range(min_cut_fraction)
        yield rows_that_break(data, "teacher_continuations", "continuation_id", cut)
        yield from sampled(data, "teacher_continuations")

    return measure


def _sample(profile: Profile) -> Measure:
    settings = profile.mixed_policy
    n_off_policy = settings.off_policy_samples
    needed = profile.checks.of("mixed_policy_sample")["has_mixed_policy"].min or 0

    def measure(data: CheckedPartition) -> Iterator[Measurement | Summary]:
        data.view_all("teacher_continuations")
        data.view_all("divergence_sample")
        data.view_all("questions")
        rows = data.row(
            f"""select count(*) filter (policy = 'mixed_policy') as mixed,
                       count(*) filter (policy = 'off_policy') as off_policy,
                       avg(n_student_tokens) as mean,
                       (select count(*) from rejected_continuations) as rejected,
                       (select count(*) from rejected_continuations where {REPETITIVE})
                           as repetitive
                from mixed_policy_sample"""
        )
        yield Measurement(
            "has_mixed_policy", {data.name(): rows["mixed"]}, cause=too_few(rows["mixed"], needed)
        )
        yield rows_that_break(data, "mixed_policy_sample", "sample_id", PREFIX_WITHIN_TEXT)
        for check, sql in {
            "none_lost": """select id from (
                    select continuation_id as id, 1 as n from teacher_continuations
                    union all select sample_id, -1 from mixed_policy_sample
                        where policy = 'mixed_policy'
                    union all select continuation_id, -1 from rejected_continuations
                ) group by id having sum(n) <> 0""",
            "known_samples": """select sample_id from mixed_policy_sample where sample_id not in (
                    select continuation_id from teacher_continuations
                    union all select response_id from divergence_sample)""",
        }.items():
            n_broken, ids = data.broken(sql)
            yield Measurement(check, {data.name(): n_broken}, ids)
        again, ids = data.broken(
            """select sample_id from mixed_policy_sample where policy = 'off_policy'
               and question_id in (
                   select question_id from mixed_policy_sample where policy = 'mixed_policy')"""
        )
        twice = {data.name(): again} if settings.distinct_questions else {}
        yield Measurement("distinct_questions", twice, ids)
        yield known_questions(data, "mixed_policy_sample", "sample_id")
        context = within_context(profile.response_filtering.max_student_tokens)
        for rule in (context, POSITIVE_WEIGHT):
            yield rows_that_break(data, "mixed_policy_sample", "sample_id", rule)
        met = {data.name(): rows["off_policy"] / n_off_policy} if n_off_policy else {}
        yield Measurement("budget_met", met)
        n_continued = rows["mixed"] + rows["rejected"]
        rejected = share(rows["rejected"], n_continued)
        yield Measurement("few_rejected", {data.name(): rejected}, _rejects(data))
        repetitive = share(rows["repetitive"], n_continued)
        yield Measurement("few_repetitive", {data.name(): repetitive}, _rejects(data, REPETITIVE))
        balance = domain_shares(data, "mixed_policy_sample", _asked(data, profile))
        yield Measurement("domain_balance", balance)
        n_rows = rows["mixed"] + rows["off_policy"]
        yield Summary(
            n_rows,
            {"student_tokens": rows["mean"]} if n_rows else {},
            {"rejected": rejected, "repetitive": repetitive, **balance},
        )

    return measure


def too_few(found: int, needed: float) -> str:
    """Why stage 3 is not trained, and what to do."""
    why = "" if found else "; no rollout was continued: none hit its cap, or none could be used"
    return (
        f"{found:,} mixed-policy samples found, {needed:,g} needed "
        f"(checks.mixed_policy_sample.has_mixed_policy.min){why}. More questions "
        "(mixed_policy_distillation.rollout_questions) or a lower cap_ratio give more; a small "
        "project leaves stage 3 out, and evaluates and releases stages 1 and 2: "
        "`mixed_policy_distillation: off`"
    )


def _broken_rollouts(data: CheckedPartition) -> tuple[str, ...]:
    """Some rollouts that cannot be used, with the first rule that each breaks."""
    return data.broken(
        f"""select rollout_id || ': ' || broken_rules[1].rule from student_rollouts
            where {_BROKEN}"""
    )[1]


def _asked(data: CheckedPartition, profile: Profile) -> tuple[str, ...]:
    """Domains of the divergence samples: these should be in the mixture too."""
    asked = data.pairs("select domain, count(*) from divergence_sample group by 1")
    return tuple(domain for domain in profile.domains if domain in asked)


def _rejects(data: CheckedPartition, where: str = "true") -> tuple[str, ...]:
    """Some rejected continuations with the first rule that each breaks."""
    return data.broken(
        f"""select continuation_id || coalesce(': ' || broken_rules[1].rule, '')
            from rejected_continuations where {where}"""
    )[1]
