"""Pieces of Markdown that the pages share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MADE_FROM_CODE = (
    "<!-- Written from the code by `make reference`. Change the code, not this page. -->"
)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells may hold any text."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def codes(names: Iterable[str]) -> str:
    """Names as code, with commas."""
    return ", ".join(f"`{name}`" for name in names)


def page(title: str, *parts: str) -> str:
    """A page of these parts, with a blank line between any two."""
    return "\n\n".join([MADE_FROM_CODE, f"# {title}", *(part for part in parts if part)]) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
