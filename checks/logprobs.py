"""Sanity of token logprobs: list columns reduced by DuckDB, row group by row group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from checks.checked_partition import CheckedPartition
from checks.expectations import Measurement
from dasd_assets.profile import Profile


@dataclass(frozen=True)
class Logprobs:
    """Where a table has the logprobs of an answer.

    Attributes:
        id: column of the answer's id.
        n_tokens: SQL for the number of tokens of a row.
        logprobs: SQL for the list.
        also: SQL that is true where another list of the row has the wrong length.
    """

    id: str
    n_tokens: str = "len(token_ids)"
    logprobs: str = "logprobs"
    also: str = "false"


_STARTS = "len(token_starts) <> len(token_ids)"

LOGPROBS: Final[dict[str, Logprobs]] = {
    "imported_answers": Logprobs("response_id"),
    "teacher_responses": Logprobs("response_id"),
    "filtered_responses": Logprobs(
        "response_id", "n_teacher_tokens", "teacher_logprobs",
        also="len(teacher_token_starts) <> n_teacher_tokens",
    ),
    "student_scores": Logprobs(
        "response_id", also=f"len(ranks) <> len(token_ids) or {_STARTS}"
    ),
    "teacher_scores": Logprobs("response_id", also=_STARTS),
    "student_rollouts": Logprobs("rollout_id"),
    "teacher_continuations": Logprobs("continuation_id"),
    "evaluation_teacher_scores": Logprobs("answer_id", also=_STARTS),
}  # fmt: skip


def logprobs_of(table: str, profile: Profile) -> Logprobs:
    """Where a table has them under a profile."""
    split = any(teacher.format.name == "split" for teacher in profile.answerers.values())
    if table == "teacher_responses" and split:
        # A server may tell those of the content only.
        known = "list_filter(logprobs, x -> not isnan(x))"
        return replace(LOGPROBS[table], n_tokens=f"len({known})", logprobs=known)
    return LOGPROBS[table]


_REDUCED = """
select {shown}, {n_tokens} as n_tokens, coalesce(len({logprobs}), 0) as n_logprobs,
       coalesce(list_count({logprobs}), 0) as n_present,
       list_min({logprobs}) as lowest, list_max({logprobs}) as highest,
       list_sum({logprobs})::double as total,
       {also} as other_counts
from {table}
"""
# DuckDB orders NaN above every number, and list_min and list_max pass nulls over.
FINITE: Final = (
    "(n_logprobs = 0 or (n_present = n_logprobs and isfinite(lowest) and isfinite(highest)))"
)
_COUNTED = "(n_logprobs = n_tokens and not other_counts)"
UNUSABLE: Final = f"not ({FINITE} and {_COUNTED})"
"""SQL over what `reduced` selects: not exactly one finite logprob per token."""


def reduced(of: Logprobs, table: str, shown: str) -> str:
    """SQL: an answer a row, with what is to be known of its logprobs.

    Args:
        shown: columns that are kept as they are.
    """
    return _REDUCED.format(
        table=table, shown=shown, n_tokens=of.n_tokens, logprobs=of.logprobs, also=of.also
    )


def logprob_checks(
    data: CheckedPartition, table: str, of: Logprobs | None = None
) -> Iterator[Measurement]:
    """One per token, finite, not above 0, and of a plausible mean.

    Leaves a temporary table `reduced` with one row per answer: id, n_tokens, total (sum of the
    logprobs, natural log).
    """
    of = of or LOGPROBS[table]
    rows = reduced(of, table, f"{of.id} as id")
    data.connection.execute(f"create or replace temp table reduced as {rows}")
    unusable, ids = data.broken(f"select id from reduced where {UNUSABLE}")
    counts = data.row(
        f"""select count(*) filter (not {_COUNTED}) as with_other_counts,
                   count(*) filter (not {FINITE}) as with_non_finite from reduced"""
    )
    yield Measurement(
        "one_logprob_per_token",
        {data.name(): unusable},
        ids,
        {"unusable_answers": unusable, **counts},
    )
    finite = data.row(
        f"""select max(highest) as highest, sum(total) / nullif(sum(n_logprobs), 0) as mean,
                   max_by(id, highest, 5) as highest_ids
            from reduced where n_logprobs > 0 and {FINITE}"""
    )
    ids = tuple(map(str, finite["highest_ids"] or ()))
    for check, value, examples in (
        ("logprobs_not_positive", finite["highest"], ids),
        ("mean_logprob", finite["mean"], ()),
    ):
        yield Measurement(check, {} if value is None else {data.name(): value}, examples)
