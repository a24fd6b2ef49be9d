"""Sanity of sentences with their probabilities and classes."""

from __future__ import annotations

from collections.abc import Generator

from checks.checked_partition import CheckedPartition, shares
from checks.expectations import Measurement
from checks.row_rules import PROBABILITIES, probability, rows_that_break


def probability_checks(
    data: CheckedPartition,
    table: str,
    id_column: str,
    known: str = "true",
) -> Generator[Measurement, None, dict[str, float]]:
    """Every probability in range, few sentences unscored.

    Args:
        id_column: the answer that a sentence belongs to.
        known: SQL that holds for the sentences of answers that both models have looked at.

    Returns:
        Class -> its share of the sentences.
    """
    sentence = f"{id_column} || ':' || sentence_index"
    yield rows_that_break(data, table, sentence, *map(probability, PROBABILITIES[table]))
    classes = shares(
        data.pairs(
            f"select sentence_class, count(*) from {table} where {known} group by 1 order by 1"
        )
    )
    unscored = {data.name(): classes.get("unscored", 0.0)} if classes else {}
    yield Measurement("few_unscored", unscored, details=classes)
    return classes
