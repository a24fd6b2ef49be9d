"""Pieces of Markdown that the pages share."""

from __future__ import annotations

from collections.abc import Iterable

MADE_FROM_CODE = (
    "<!-- Written from the code by `make reference`. Change the code, not this page. -->"
)


def codes(names: Iterable[str]) -> str:
    """Names as code, with commas."""
    return ", ".join(f"`{name}`" for name in names)


def page(title: str, *parts: str) -> str:
    """A page of these parts, with a blank line between any two."""
    return "\n\n".join([MADE_FROM_CODE, f"# {title}", *(part for part in parts if part)]) + "\n"
