"""What must hold of each row of a table, said once.

The checks count the rows that break a rule (`rows_that_break`); `checks.table_rules` says which
tables have which, and `checks.row_suites` makes the same rules Great Expectations'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from checks.checked_partition import CheckedPartition
from checks.expectations import Measurement
from dasd_assets.evaluation.evaluate import NOT_JUDGED, UNUSABLE_REFERENCE

LARGEST_FLOAT: Final = 3.4028234663852886e38
"""Of 32 bits; infinity and NaN, which DuckDB orders above it, are beyond."""

REPETITIVE: Final = (
    "len(list_filter(broken_rules, lambda b : starts_with(b.rule, 'repeated_'))) > 0"
)
"""SQL over a table of rejects: rejected for repeating itself."""


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        check: the check on the table's asset that counts the rows which break it.
        broken: SQL that is true of a row that breaks it, and false where a column is null.
        expectation: class of Great Expectations, or of `checks.row_suites`, that says the same.
        arguments: of that class; without any it is handed the rows that break the rule.
        rows: SQL for what `broken` is asked of; `{table}` is filled in.
        columns: what is shown of a row; the table's ids, if unset.
        has_limit: the check's limit is in the rule, and not a number of rows.
    """

    check: str
    broken: str
    expectation: str = "ExpectNoBrokenRows"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    rows: str = "{table}"
    columns: tuple[str, ...] = ()
    has_limit: bool = False


def rows_that_break(data: CheckedPartition, table: str, id_sql: str, *rules: Rule) -> Measurement:
    """How many rows of a view break any of the rules of one check, and some of their ids."""
    is_broken = " or ".join(rule.broken for rule in rules)
    n_broken, ids = data.broken(f"select {id_sql} from {table} where {is_broken}")
    return Measurement(rules[0].check, {data.name(): n_broken}, ids)


def within(
    check: str, column: str, least: float | None, most: float, *, is_above: bool = False
) -> Rule:
    """A number in a range, NaN never.

    Args:
        is_above: the least value itself is not allowed.
    """
    low = "" if least is None else f"{column} {'>' if is_above else '>='} {least!r} and "
    limits = {"min_value": least, "max_value": most, "strict_min": is_above or None}
    return Rule(
        check,
        f"not coalesce({low}{column} <= {most!r}, true)",
        "ExpectColumnValuesToBeBetween",
        {"column": column, **{name: limit for name, limit in limits.items() if limit is not None}},
    )


def one_of(check: str, column: str, values: Iterable[str]) -> Rule:
    """One of a set of texts."""
    return _of_set(check, column, values, "not in", "ExpectColumnValuesToBeInSet")


def none_of(check: str, column: str, values: Iterable[str]) -> Rule:
    """None of a set of texts."""
    return _of_set(check, column, values, "in", "ExpectColumnValuesToNotBeInSet")


def _of_set(
    check: str, column: str, values: Iterable[str], is_broken: str, expectation: str
) -> Rule:
    found = list(values)
    texts = ", ".join("'" + value.replace("'", "''") + "'" for value in found)
    return Rule(
        check, f"coalesce({column} {is_broken} ({texts}), false)",
        expectation, {"column": column, "value_set": found},
    )  # fmt: skip


def _as_stored(value: float) -> float:
    """A setting as a column of 32 bits has it, which may be a little more or less."""
    return float(pa.scalar(value, pa.float32()).as_py())


def known_domains(domains: Iterable[str]) -> Rule:
    """The domain is one of the profile's."""
    return one_of("known_domains", "domain", domains)


def within_context(max_student_tokens: int) -> Rule:
    """No longer than the training context."""
    return within("within_context", "n_student_tokens", None, max_student_tokens)


def within_cap(cap_ratio: float) -> Rule:
    """No longer than the cap, and the cap as the profile says."""
    allowed = f"greatest(1, {cap_ratio!r}::double * n_teacher_response_tokens)"
    return Rule("within_cap", f"(len(token_ids) > max_tokens or max_tokens > {allowed})")


def cut_in_range(min_cut_fraction: float) -> Rule:
    """Cut behind the least share of the rollout, and not behind its end."""
    return within("cut_in_range", "cut_fraction", _as_stored(min_cut_fraction), 1)


def probability(column: str) -> Rule:
    """A probability."""
    return within("probabilities_in_range", column, 0, 1)


PROBABILITIES: Final = {
    "sentence_provenance": ("p_teacher", "p_student"),
    "evaluation_provenance": ("p_teacher", "p_student", "p_distilled"),
}
"""Table of sentences -> its columns of probabilities."""

RAW_LOGPROBS: Final = one_of("raw_logprobs", "logprobs_mode", ["raw_logprobs"])
ALL_GRADED: Final = none_of("all_graded", "verdict", [UNUSABLE_REFERENCE, NOT_JUDGED])
POSITIVE_WEIGHT: Final = within("positive_weights", "weight", 0, LARGEST_FLOAT, is_above=True)
HAS_A_RULE: Final = Rule("every_reject_has_a_rule", "coalesce(len(broken_rules), 0) = 0")
PREFIX_WITHIN_TEXT: Final = Rule(
    "prefix_within_text",
    "(policy = 'mixed_policy' and not (student_prefix_bytes > 0 "
    "and student_prefix_bytes < strlen(response_text)))",
)
NOT_EMPTY_SENTENCE: Final = Rule(
    "sentences_in_order",
    "end_byte <= start_byte",
    "ExpectColumnPairValuesAToBeGreaterThanB",
    {"column_A": "end_byte", "column_B": "start_byte"},
)
