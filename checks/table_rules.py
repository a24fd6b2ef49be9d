"""Which rules the rows of each table keep, as a lake of all partitions has them.

Its views have the column `partition` (`checks.row_suites`).
"""

from __future__ import annotations

from typing import Final

from checks.logprobs import FINITE, LOGPROBS, UNUSABLE, logprobs_of, reduced
from checks.row_rules import (
    ALL_GRADED,
    HAS_A_RULE,
    NOT_EMPTY_SENTENCE,
    POSITIVE_WEIGHT,
    PREFIX_WITHIN_TEXT,
    PROBABILITIES,
    RAW_LOGPROBS,
    REPETITIVE,
    Rule,
    cut_in_range,
    known_domains,
    probability,
    within_cap,
    within_context,
)
from dasd_assets.profile import Profile
from resources.lake.tables.training_sets import TABLES as TRAINING_SETS


def rules_of(table: str, profile: Profile) -> list[Rule]:
    """The rules that each row of a table keeps under a profile."""
    context = within_context(profile.response_filtering.max_student_tokens)
    domains = known_domains(profile.domains)
    rules = {
        "raw_questions": [domains],
        "benchmark_questions": [domains],
        "questions": [domains],
        "teacher_responses": [RAW_LOGPROBS],
        "filtered_responses": [context],
        "rejected_responses": [HAS_A_RULE, *_few_repetitive(profile, "filtered_responses")],
        "student_scores": _ranks(profile),
        "sentence_provenance": [NOT_EMPTY_SENTENCE],
        "divergence_sample": [context, POSITIVE_WEIGHT],
        "mixed_policy_sample": [context, POSITIVE_WEIGHT, PREFIX_WITHIN_TEXT],
        **{table: [POSITIVE_WEIGHT] for table in TRAINING_SETS},
        "rejected_continuations": _few_repetitive(profile, "mixed_policy_sample"),
        "evaluation": [ALL_GRADED],
    }
    if not profile.no_mixed_policy:
        mixed = profile.mixed_policy
        rules["student_rollouts"] = [within_cap(mixed.cap_ratio)]
        rules["teacher_continuations"] = [cut_in_range(mixed.min_cut_fraction)]
    return [
        *rules.get(table, ()),
        *map(probability, PROBABILITIES.get(table, ())),
        *(_logprobs(table, profile) if table in LOGPROBS else ()),
    ]


def _logprobs(table: str, profile: Profile) -> list[Rule]:
    of = logprobs_of(table, profile)
    rows = f"({reduced(of, '{table}', f'partition, {of.id}')})"
    columns = (of.id, "n_tokens", "n_logprobs", "lowest", "highest")
    one_each = Rule(
        "one_logprob_per_token", UNUSABLE, "ExpectOneLogprobPerToken", rows=rows, columns=columns
    )
    most = profile.checks.of(table)["logprobs_not_positive"].max
    if most is None:
        return [one_each]
    too_high = f"n_logprobs > 0 and {FINITE} and highest > {most!r}"
    return [
        one_each,
        Rule(
            "logprobs_not_positive", too_high, "ExpectLogprobsNotPositive", rows=rows,
            columns=columns, has_limit=True,
        ),
    ]  # fmt: skip


def _ranks(profile: Profile) -> list[Rule]:
    least = profile.checks.of("student_scores")["ranks_from_one"].min
    if least is None:
        return []
    return [Rule("ranks_from_one", f"list_min(ranks) < {least!r}", has_limit=True)]


_ANSWERS: Final = {
    "filtered_responses": "teacher_responses",
    "mixed_policy_sample": "(select partition from mixed_policy_sample where policy = "
    "'mixed_policy' union all select partition from rejected_continuations)",
}
"""Asset -> the answers that its repetitive ones are a share of."""


def _few_repetitive(profile: Profile, asset: str) -> list[Rule]:
    most = profile.checks.of(asset)["few_repetitive"].max
    if most is None:
        return []
    rows = f"""(select partition, n_repetitive, n_answers from
        (select partition, count(*) filter ({REPETITIVE}) as n_repetitive from {{table}} group by 1)
        join (select partition, count(*) as n_answers from {_ANSWERS[asset]} group by 1)
        using (partition))"""
    return [
        Rule(
            "few_repetitive", f"n_repetitive > {most!r} * n_answers", "ExpectFewRepetitive",
            rows=rows, columns=("n_repetitive", "n_answers"), has_limit=True,
        )
    ]  # fmt: skip
