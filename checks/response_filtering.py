"""Checks on filtered answers: nothing is lost between sampling and training."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from checks.checked_partition import CheckedPartition, share
from checks.declare import Measure, asset_checks
from checks.drift import Summary
from checks.expectations import Measurement
from checks.logprobs import logprob_checks
from checks.teacher_responses import known_questions
from dasd_assets.partitions import QUESTION_SHARD, TEMPERATURE, responses
from dasd_assets.profile import Profile

REPETITIVE = "len(list_filter(broken_rules, lambda b : starts_with(b.rule, 'repeated_'))) > 0"
"""SQL over a table of rejects: rejected for repeating itself."""


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
        unexplained, ids = data.broken(
            "select response_id from rejected_responses where coalesce(len(broken_rules), 0) = 0"
        )
        yield Measurement("every_reject_has_a_rule", {data.name(): unexplained}, ids)
        yield from logprob_checks(
            data, "filtered_responses", "response_id", "n_teacher_tokens", "teacher_logprobs",
            also="len(teacher_token_starts) <> n_teacher_tokens",
        )  # fmt: skip
        yield known_questions(data, "filtered_responses", "response_id")
        yield within_context(data, "filtered_responses", "response_id", max_student_tokens)
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


def within_context(
    data: CheckedPartition, table: str, id_column: str, max_student_tokens: int
) -> Measurement:
    """Rows that are longer than the training context."""
    over, ids = data.broken(
        f"select {id_column} from {table} where n_student_tokens > $most", most=max_student_tokens
    )
    return Measurement("within_context", {data.name(): over}, ids)


def _rejects(data: CheckedPartition, where: str = "true") -> tuple[str, ...]:
    """Some rejected answers with the first rule that each breaks."""
    return data.broken(
        f"""select response_id || coalesce(': ' || broken_rules[1].rule, '')
            from rejected_responses where {where}"""
    )[1]
