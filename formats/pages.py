"""Pages that need nothing else: HTML from a template and plain values, tables as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


_MARKUP = re.compile(
    r"[\\`*\[\](){}!#~$]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # inside of a word it is no markup
    r"|:(?=//)|(?<=www)\.|@"  # addresses
    r"|^[-+=](?=\s|$)|(?<=\d)\.(?=\s|$)",  # lists and headings
    re.IGNORECASE,
)


def environment(templates: Path) -> Environment:
    """Templates of a folder; what they are given is text and is escaped, a missing value an error.

    `words` writes a name with spaces.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["words"] = lambda name: name.replace("_", " ")
    return made


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; what would end a cell is written otherwise."""
    lines = [_line(header), "|" + "---|" * len(header)]
    return "\n".join([*lines, *map(_line, rows)])


def as_text(text: str) -> str:
    """Text of somebody else in one line of Markdown, shown as the characters that it is.

    Nothing in it becomes a link, an image, HTML or markup, for readers that link bare addresses,
    too. A bar is left to `markdown_table`.
    """
    marked = _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))
    return marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _line(cells: Sequence[Any]) -> str:
    texts = [str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells]
    return f"| {' | '.join(texts)} |"
