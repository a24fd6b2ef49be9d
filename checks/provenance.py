"""Sanity of sentences with their probabilities and classes."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from checks.checked_partition import CheckedPartition, shares
from checks.expectations import Measurement


def probability_checks(
    data: CheckedPartition,
    table: str,
    id_column: str,
    probabilities: Sequence[str],
    known: str = "true",
) -> Generator[Measurement, None, dict[str, float]]:
    """Every probability in range, few sentences unscored.

    Args:
        id_column: the answer that a sentence belongs to.
        probabilities: columns of the table.
        known: SQL that holds for the sentences of answers that both models have looked at.

    Returns:
        Class -> its share of the sentences.
    """
    # NaN is asked for by name: Parquet's footers leave it out, and DuckDB skips what they exclude.
    is_wrong = " or ".join(
        f"not coalesce({name}, 0) between 0 and 1 or isnan({name})" for name in probabilities
    )
    n_broken, ids = data.broken(
        f"select {id_column} || ':' || sentence_index from {table} where {is_wrong}"
    )
    yield Measurement("probabilities_in_range", {data.name(): n_broken}, ids)
    classes = shares(
        data.pairs(
            f"select sentence_class, count(*) from {table} where {known} group by 1 order by 1"
        )
    )
    unscored = {data.name(): classes.get("unscored", 0.0)} if classes else {}
    yield Measurement("few_unscored", unscored, details=classes)
    return classes
