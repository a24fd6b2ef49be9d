"""Checks on filtered answers: nothing is lost between sampling and training."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from checks.checked_partition import CheckedPartition, share
from checks.declare import Measure, asset_checks
from checks.drift import Summary
from checks.expectations import Measurement
from checks.logprobs import logprob_checks
from checks.row_rules import HAS_A_RULE, REPETITIVE, rows_that_break, within_context
from checks.teacher_responses import known_questions
from dasd_assets.partitions import QUESTION_SHARD, TEMPERATURE, responses
from dasd_assets.profile import Profile


def build(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """Checks of the box for one profile."""
    return [
        asset_checks(
            profile, "filtered_responses", _filtered(profile.response_filtering.max_student_tokens),
            partitions_def=responses(profile),
        )
    ]  # fmt: skip


def _filtered(max_student_tokens: int) -> Measure:
    def measure(data: CheckedPartition) -> Iterator[Measurement | Summary]:
        data.view("teacher_responses", TEMPERATURE, QUESTION_SHARD)
        data.view("questions", QUESTION_SHARD)
        off, ids = data.broken(
            """select response_id from (
                   select response_id, 1 as n from teacher_responses
                   union all select response_id, -1 from filtered_responses
                   union all select response_id, -1 from rejected_responses
               ) group by response_id having sum(n) <> 0"""
        )
        yield Measurement("none_lost", {data.name(): off}, ids)
        yield rows_that_break(data, "rejected_responses", "response_id", HAS_A_RULE)
        yield from logprob_checks(data, "filtered_responses")
        yield known_questions(data, "filtered_responses", "response_id")
        context = within_context(max_student_tokens)
        yield rows_that_break(data, "filtered_responses", "response_id", context)
        rows = data.row(
            f"""select count(*) as kept, avg(n_student_tokens) as tokens,
                       (select count(*) from teacher_responses) as sampled,
                       (select count(*) from rejected_responses where {REPETITIVE}) as repetitive
                from filtered_responses"""
        )
        kept = share(rows["kept"], rows["sampled"])
        repetitive = share(rows["repetitive"], rows["sampled"])
        yield Measurement("most_kept", {data.name(): kept}, _rejects(data))
        by_domain = data.pairs(
            """select t.domain, count(f.response_id) / count(*)
               from teacher_responses as t left join filtered_responses as f using (response_id)
               group by t.domain order by t.domain"""
        )
        yield Measurement("domain_balance", by_domain)
        yield Measurement("few_repetitive", {data.name(): repetitive}, _rejects(data, REPETITIVE))
        yield Summary(
            rows["kept"],
            {"student_tokens": rows["tokens"]} if rows["kept"] else {},
            {"kept": kept, "repetitive": repetitive},
        )

    return measure


def _rejects(data: CheckedPartition, where: str = "true") -> tuple[str, ...]:
    """Some rejected answers with the first rule that each breaks."""
    return data.broken(
        f"""select response_id || coalesce(': ' || broken_rules[1].rule, '')
            from rejected_responses where {where}"""
    )[1]
