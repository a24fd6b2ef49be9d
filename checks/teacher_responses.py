"""Checks on sampled answers: all there, and their logprobs are what they say."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from checks.checked_partition import CheckedPartition, share
from checks.declare import Measure, asset_checks
from checks.drift import Summary
from checks.expectations import Measurement
from checks.logprobs import logprob_checks
from dasd_assets.partitions import QUESTION_SHARD, TEMPERATURE, responses
from dasd_assets.profile import Profile


def build(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """Checks of the box for one profile."""
    return [
        asset_checks(
            profile, "teacher_responses", _answers(profile),
            partitions_def=responses(profile),
        )
    ]  # fmt: skip


def _answers(profile: Profile) -> Measure:
    samples = profile.teacher_responses.samples_per_question

    def measure(data: CheckedPartition) -> Iterator[Measurement | Summary]:
        data.view("questions", QUESTION_SHARD)
        wanted = samples[data.partition[TEMPERATURE]]
        off, ids = data.broken(
            """select question_id from (
                   select question_id from questions
               ) as q left join (
                   select question_id, count(*) as n from teacher_responses group by question_id
               ) using (question_id) where coalesce(n, 0) <> $wanted""",
            wanted=wanted,
        )
        rows = data.row("select count(*) as n from teacher_responses")["n"]
        expected = wanted * data.row("select count(*) as n from questions")["n"]
        yield Measurement(
            "all_answered",
            {data.name(): max(off, abs(rows - expected))},
            ids,
            {"answers": rows, "expected": expected},
        )
        other, ids = data.broken(
            "select response_id from teacher_responses where logprobs_mode <> 'raw_logprobs'"
        )
        modes = "select logprobs_mode, count(*) from teacher_responses group by 1 order by 1"
        yield Measurement("raw_logprobs", {data.name(): other}, ids, data.pairs(modes))
        yield known_questions(data, "teacher_responses", "response_id")
        known = "logprobs"
        if profile.teacher.format.kind == "split":  # a server may tell those of the content only
            known = "list_filter(logprobs, x -> not isnan(x))"
        yield from sampled(data, "teacher_responses", "response_id", logprobs=known)

    return measure


def known_questions(data: CheckedPartition, table: str, id_column: str) -> Measurement:
    """Rows whose question is not among the view `questions`."""
    unknown, ids = data.broken(
        f"select {id_column} from {table} anti join questions using (question_id)"
    )
    return Measurement("known_questions", {data.name(): unknown}, ids)


def sampled(
    data: CheckedPartition,
    table: str,
    id_column: str,
    check: str = "few_truncated",
    logprobs: str = "logprobs",
) -> Iterator[Measurement | Summary]:
    """Logprobs, truncation and summary of any table of sampled answers."""
    n_tokens = "len(token_ids)" if logprobs == "logprobs" else f"len({logprobs})"
    yield from logprob_checks(data, table, id_column, n_tokens, logprobs)
    rows = data.row(
        f"select count(*) as n, count(*) filter (finish_reason = 'length') as cut from {table}"
    )
    truncated = share(rows["cut"], rows["n"])
    _, ids = data.broken(f"select {id_column} from {table} where finish_reason = 'length'")
    yield Measurement(check, {data.name(): truncated} if rows["n"] else {}, ids)
    yield Summary(rows["n"], mean_tokens(data), {"truncated": truncated})


def mean_tokens(data: CheckedPartition) -> dict[str, float]:
    """Means over the answers that `logprob_checks` has reduced, as far as there are any."""
    means = data.row(
        """select avg(n_tokens) as tokens,
                  sum(total) filter (isfinite(total))
                  / nullif(sum(n_logprobs) filter (isfinite(total)), 0) as logprob
           from reduced"""
    )
    return {name: value for name, value in means.items() if value is not None}
