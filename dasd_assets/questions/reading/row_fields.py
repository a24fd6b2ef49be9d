"""Fields of a row of a public evaluation set; what is missing is said with what there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dasd_assets.questions.reading.unusable import UnusableRowError

SHOWN_COLUMNS = 12


def text_of(row: Mapping[str, Any], *names: str) -> str:
    """The text of the first of these columns that the row has, trimmed.

    Raises:
        UnusableRowError: missing_column, wrong_type or empty_field.
    """
    name, value = _field(row, names)
    if not isinstance(value, str):
        raise UnusableRowError("wrong_type", f"{name}: expected text, found {type(value).__name__}")
    if not value.strip():
        raise UnusableRowError("empty_field", name)
    return value.strip()


def integer_or_text(row: Mapping[str, Any], *names: str) -> str:
    """The same for a column that is text in one edition of a set and a number in another."""
    name, value = _field(row, names)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of whole numbers with gaps is often stored as floats
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return text_of({name: str(value) if is_integer else value}, name)


def _field(row: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, Any]:
    name = next((name for name in names if name in row), None)
    if name is None:
        columns = ", ".join(list(row)[:SHOWN_COLUMNS]) or "none"
        raise UnusableRowError(
            "missing_column", f"expected {' or '.join(names)}; the columns are {columns}"
        )
    if row[name] is None:
        raise UnusableRowError("empty_field", name)
    return name, row[name]
