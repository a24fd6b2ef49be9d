"""Every table of the lake: one entry each, in the module of the box that writes it."""

from __future__ import annotations

from typing import Final

from resources.lake.table import ContractError, Table
from resources.lake.tables import (
    divergence_sampling,
    evaluation,
    mixed_policy_distillation,
    questions,
    response_filtering,
    teacher_responses,
    training_sets,
)


class _Tables(dict[str, Table]):
    def __missing__(self, name: str) -> Table:
        raise ContractError(
            f"{name}: the lake has no such table. A new one is an entry of TABLES in the module of "
            "its box in resources/lake/tables"
        )


TABLES: Final = _Tables(
    questions.TABLES
    | teacher_responses.TABLES
    | response_filtering.TABLES
    | divergence_sampling.TABLES
    | mixed_policy_distillation.TABLES
    | training_sets.TABLES
    | evaluation.TABLES
)
"""Name -> the table, in order of the data's way."""


def tables_of(asset: str) -> tuple[str, ...]:
    """The tables that an asset writes, the main one first; none of an asset without rows."""
    main = (asset,) if asset in TABLES else ()
    return (*main, *(name for name, table in TABLES.items() if table.written_with == asset))
