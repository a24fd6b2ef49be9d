"""Checks on sampled answers: all there, and their logprobs are what they say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import dagster as dg
import pyarrow as pa

from checks import top_logprobs
from checks.checked_partition import CheckedPartition, share
from checks.declare import Measure, asset_checks
from checks.drift import Summary
from checks.expectations import Measurement
from checks.logprobs import LOGPROBS, Logprobs, logprob_checks, logprobs_of
from checks.row_rules import RAW_LOGPROBS, rows_that_break
from dasd_assets.answering.sharing import teachers_of
from dasd_assets.partitions import QUESTION_SHARD, TEMPERATURE, responses
from dasd_assets.profile import Profile
from dasd_assets.teacher_responses.imported.sources import answers_of_shard


def build(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """Checks of the box for one profile."""
    grid = responses(profile)
    imported = [asset_checks(profile, "imported_answers", _imported, partitions_def=grid)]
    return [
        *(imported if profile.imports else []),
        asset_checks(
            profile, "teacher_responses", _answers(profile), partitions_def=grid,
            without=() if profile.teacher_responses.top_logprobs else (top_logprobs.CHECK,),
        ),
    ]  # fmt: skip


def _imported(data: CheckedPartition) -> Iterator[Measurement | Summary]:
    quarantined, _ = data.broken("select line from quarantined_answers")
    rows = data.row("select count(*) as n from imported_answers")["n"]
    examples = data.connection.sql(
        """select drop || ':' || line || ': ' || reason || ' (' || evidence || ')'
           from quarantined_answers order by drop, line limit 5"""
    ).fetchall()
    part = share(quarantined, rows + quarantined)
    shares = {data.name(): part} if rows + quarantined else {}
    yield Measurement("few_quarantined", shares, tuple(text for (text,) in examples))
    yield from logprob_checks(data, "imported_answers")
    yield Summary(rows, mean_tokens(data), {"quarantined": part})


def _of_drop(data: CheckedPartition) -> Measurement:
    """Whether imported responses are just the imported answers to the shard's questions."""
    data.view("imported_answers", TEMPERATURE, QUESTION_SHARD)
    off, ids = data.broken(
        """select coalesce(t.response_id, i.response_id) from teacher_responses as t full join (
               select response_id from imported_answers semi join questions using (question_id)
           ) as i using (response_id) where t.response_id is null or i.response_id is null"""
    )
    rows = data.row("select count(*) as n from teacher_responses")["n"]
    return Measurement("all_answered", {data.name(): off}, ids, {"answers": rows})


def _answers(profile: Profile) -> Measure:
    samples = profile.teacher_responses.samples_per_question

    def measure(data: CheckedPartition) -> Iterator[Measurement | Summary]:
        data.view("questions", QUESTION_SHARD)
        if answers_of_shard(profile, data.partition[QUESTION_SHARD]):
            yield _of_drop(data)
        else:
            yield _sampled_all(data, profile, samples[data.partition[TEMPERATURE]])
        other = rows_that_break(data, "teacher_responses", "response_id", RAW_LOGPROBS)
        modes = "select logprobs_mode, count(*) from teacher_responses group by 1 order by 1"
        yield replace(other, details=data.pairs(modes))
        yield known_questions(data, "teacher_responses", "response_id")
        yield from sampled(data, "teacher_responses", of=logprobs_of("teacher_responses", profile))
        if k := profile.teacher_responses.top_logprobs:
            yield top_logprobs.top_logprobs_hold(data, k)

    return measure


def _sampled_all(data: CheckedPartition, profile: Profile, samples: int) -> Measurement:
    """Whether every question has as many answers as the profile asks its teachers for."""
    shares = {name: teacher.questions for name, teacher in profile.answerers.items()}
    ids = [name for (name,) in data.connection.sql("select question_id from questions").fetchall()]
    wanted = [samples * len(teachers_of(name, shares, profile.seed)) for name in ids]
    data.connection.register(
        "wanted_answers", pa.table({"question_id": pa.array(ids, "string"), "wanted": wanted})
    )
    off, examples = data.broken(
        """select question_id from wanted_answers left join (
               select question_id, count(*) as n from teacher_responses group by question_id
           ) using (question_id) where coalesce(n, 0) <> wanted"""
    )
    rows = data.row("select count(*) as n from teacher_responses")["n"]
    return Measurement(
        "all_answered",
        {data.name(): max(off, abs(rows - sum(wanted)))},
        examples,
        {"answers": rows, "expected": sum(wanted)},
    )


def known_questions(data: CheckedPartition, table: str, id_column: str) -> Measurement:
    """Rows whose question is not among the view `questions`."""
    unknown, ids = data.broken(
        f"select {id_column} from {table} anti join questions using (question_id)"
    )
    return Measurement("known_questions", {data.name(): unknown}, ids)


def sampled(
    data: CheckedPartition,
    table: str,
    check: str = "few_truncated",
    of: Logprobs | None = None,
) -> Iterator[Measurement | Summary]:
    """Logprobs, truncation and summary of any table of sampled answers."""
    of = of or LOGPROBS[table]
    yield from logprob_checks(data, table, of)
    rows = data.row(
        f"select count(*) as n, count(*) filter (finish_reason = 'length') as cut from {table}"
    )
    truncated = share(rows["cut"], rows["n"])
    _, ids = data.broken(f"select {of.id} from {table} where finish_reason = 'length'")
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
