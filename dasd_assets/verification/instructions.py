"""Instructions that an answer must follow to the letter."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from dasd_assets.verification.grade import Grade

_NUMBERED_LINE: Final = re.compile(r"^\s*(\d{1,6})[.)]\s+(.*?)\s*$")


def grade_instruction_following(answer: str, reference: Any) -> Grade:
    """Check every constraint in order; the first that is broken is the reason.

    Raises:
        ValueError: the reference is malformed.
    """
    text = answer.strip()
    if isinstance(reference, str):
        is_correct = text == reference.strip()
        return Grade(is_correct, "correct" if is_correct else "not_exact", text)
    constraints = reference.get("constraints") if isinstance(reference, Mapping) else None
    if not isinstance(constraints, list) or not constraints:
        raise ValueError(
            "instruction_following reference must be a text or have a non-empty list "
            f"'constraints', found {reference!r}"
        )
    for constraint in constraints:
        _check(constraint)
    lines = [line.rstrip() for line in text.splitlines()]
    for constraint in constraints:
        kind = constraint["type"]
        remaining = CONSTRAINTS[kind](lines, constraint)
        if remaining is None:
            return Grade(False, f"broken_{kind}", text)
        lines = remaining
    if any(line.strip() for line in lines):
        return Grade(False, "more_than_asked", text)
    return Grade(True, "correct", text)


def _check(constraint: Any) -> None:
    """Raise ValueError unless a constraint is of a known type and has its fields."""
    kind = constraint.get("type") if isinstance(constraint, Mapping) else None
    if not isinstance(kind, str) or kind not in CONSTRAINTS:
        raise ValueError(
            f"unknown constraint {json.dumps(constraint, default=str)}; "
            f"known types: {', '.join(sorted(CONSTRAINTS))}"
        )
    for field in _FIELDS[kind]:
        value = constraint.get(field)
        is_list = field == "values" and isinstance(value, list)
        parts = value if is_list else [value]
        if (field == "values") is not is_list or not all(
            isinstance(part, str) and (part or field != "separator") for part in parts
        ):
            raise ValueError(
                f"constraint {kind} of an instruction_following reference needs {field!r} as "
                f"{'a list of texts' if field == 'values' else 'a text'}, found {value!r}"
            )


# A constraint takes the lines that are left and returns those it does not account for, or None
# when it is broken.
Lines = list[str]


def _last_line(lines: Lines, constraint: Mapping[str, Any]) -> Lines | None:
    return lines[:-1] if lines and lines[-1].strip() == constraint["value"] else None


def _items(lines: Lines, constraint: Mapping[str, Any]) -> Lines | None:
    items = [item.strip() for item in " ".join(lines).strip().split(constraint["separator"])]
    return [] if items == list(constraint["values"]) else None


def _numbered_lines(lines: Lines, constraint: Mapping[str, Any]) -> Lines | None:
    matches = [_NUMBERED_LINE.match(line) for line in lines if line.strip()]
    found = [(int(m[1]), m[2]) if m else None for m in matches]
    return [] if found == list(enumerate(constraint["values"], start=1)) else None


CONSTRAINTS: Final[Mapping[str, Callable[[Lines, Mapping[str, Any]], Lines | None]]] = {
    "last_line": _last_line,
    "items": _items,
    "numbered_lines": _numbered_lines,
}
_FIELDS: Final = {
    "last_line": ("value",),
    "items": ("separator", "values"),
    "numbered_lines": ("values",),
}
