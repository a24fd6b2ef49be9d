"""Sanity of token logprobs: list columns reduced by DuckDB, row group by row group."""

from __future__ import annotations

from collections.abc import Iterator

from checks.checked_partition import CheckedPartition
from checks.expectations import Measurement

_REDUCED = """
create or replace temp table reduced as
select {id} as id, {n_tokens} as n_tokens, coalesce(len({logprobs}), 0) as n_logprobs,
       coalesce(list_count({logprobs}), 0) as n_present,
       list_min({logprobs}) as lowest, list_max({logprobs}) as highest,
       list_sum({logprobs})::double as total,
       {also} as other_counts
from {table}
"""
# DuckDB orders NaN above every number, and list_min and list_max pass nulls over.
_FINITE = "(n_logprobs = 0 or (n_present = n_logprobs and isfinite(lowest) and isfinite(highest)))"
_COUNTED = "(n_logprobs = n_tokens and not other_counts)"


def logprob_checks(
    data: CheckedPartition,
    table: str,
    id_column: str,
    n_tokens: str,
    logprobs: str,
    also: str = "false",
) -> Iterator[Measurement]:
    """One per token, finite, not above 0, and of a plausible mean.

    Leaves a temporary table `reduced` with one row per answer: id, n_tokens, total (sum of the
    logprobs, natural log).

    Args:
        n_tokens: SQL for the number of tokens of a row.
        also: SQL that is true where another list of the row has the wrong length.
    """
    data.connection.execute(
        _REDUCED.format(id=id_column, n_tokens=n_tokens, logprobs=logprobs, table=table, also=also)
    )
    unusable, ids = data.broken(f"select id from reduced where not ({_FINITE} and {_COUNTED})")
    counts = data.row(
        f"""select count(*) filter (not {_COUNTED}) as with_other_counts,
                   count(*) filter (not {_FINITE}) as with_non_finite from reduced"""
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
            from reduced where n_logprobs > 0 and {_FINITE}"""
    )
    ids = tuple(map(str, finite["highest_ids"] or ()))
    for check, value, examples in (
        ("logprobs_not_positive", finite["highest"], ids),
        ("mean_logprob", finite["mean"], ()),
    ):
        yield Measurement(check, {} if value is None else {data.name(): value}, examples)
