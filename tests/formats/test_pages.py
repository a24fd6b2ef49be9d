"""Tables as Markdown."""

import html
import re

import pytest
from markdown_it import MarkdownIt

from formats.pages import as_text, markdown_table

TEXTS = [
    "[x](javascript:alert(1))", "![x](https://example.org/seen.png)", "<img src=x onerror=y>",
    "<https://example.org>", "see https://example.org or www.example.org or a@example.org",
    "[x]: https://example.org", "`a` *b* __c__ ~~d~~ # e", r"\[x](y) \\ \|", "a | b || c",
    "&lt;b&gt; &amp; &#60;", "- item", "1. item", "$x_1^2$ and open_r1/Open-R1_Math", "a\n\n# b",
    "``` `x` ```", "<!-- a", "| a | b |", "---", "> quoted",
]  # fmt: skip
READER = MarkdownIt("gfm-like", {"html": True, "linkify": False})


def test_a_cell_cannot_end_its_row() -> None:
    assert markdown_table(["a"], [["x|y\nz"]]) == "| a |\n|---|\n| x\\|y z |"


@pytest.mark.parametrize("text", TEXTS)
def test_text_in_a_cell_is_shown_as_it_is(text: str) -> None:
    page = READER.render(markdown_table(["a"], [[as_text(text)]]))
    (cell,) = re.findall(r"<td>(.*)</td>", page)
    assert "<" not in cell, cell
    assert html.unescape(cell) == " ".join(text.split())
