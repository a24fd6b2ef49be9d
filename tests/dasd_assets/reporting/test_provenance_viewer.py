"""The provenance viewer: a page that needs nothing, says all, and runs nothing."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from support.html_page import Page
from support.small_lake import HOSTILE, make_small_lake

from dasd_assets.reporting.examples import example_answers
from dasd_assets.reporting.provenance_viewer import render_viewer
from dasd_assets.reporting.report import MAX_SENTENCES, ExampleAnswer
from resources.lake.lake import Lake
from resources.lake.warehouse import open_warehouse


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    lake = Lake(root=str(tmp_path_factory.mktemp("lake")))
    make_small_lake(lake)
    warehouse = open_warehouse(Path(lake.root))
    return render_viewer(f"Title {HOSTILE}", example_answers(warehouse, ["r1", "r2", "r4"]))


def test_it_loads_nothing_and_runs_nothing(html: str) -> None:
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    assert not {tag for tag, _ in page.elements} & {"script", "img", "link", "iframe", "form"}
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert page.values("src") == []
    links = page.values("href") + page.values("xlink:href")
    assert {link.removeprefix("#") for link in links} <= set(page.values("id"))
    assert "default-src 'none'; style-src 'unsafe-inline'" in page.values("content")


def test_hostile_text_is_text_wherever_it_stands(html: str) -> None:
    page = Page(html)
    visible = HOSTILE.replace("\x1b", "\N{REPLACEMENT CHARACTER}")
    # Title and heading; q1 above two answers; each of three answers, and its row in the table.
    assert page.text.count(visible) == 2 + 2 + 3 + 3
    assert "<img" not in html
    assert "</script" not in html
    assert "\x1b" not in html


def test_every_sentence_says_its_class_and_probabilities_on_hover(html: str) -> None:
    titles = [title for title in Page(html).values("title") if "p_T" in title]
    assert titles == [
        "teacher · p_T 0.900 · p_S 0.300", "common · p_T 0.500 · p_S 0.500",
        "student · p_T 0.200 · p_S 0.600", "unscored · p_T – · p_S –",
        "teacher · p_T 0.900 · p_S 0.300", "student · p_T 0.200 · p_S 0.600",
    ]  # fmt: skip


def test_the_classes_are_told_apart_without_colour(html: str) -> None:
    text = " ".join(Page(html).text.split())
    for meaning in ("Teacher Sentence far likelier under the teacher", "Common neither",
                    "Student Sentence far likelier under the student"):  # fmt: skip
        assert meaning in text
    for underline in ("solid", "dashed", "dotted"):
        assert f"border-bottom: 2px {underline}" in html
    # Without a pointer: every number in the text leads to its row of the table.
    assert {"#example-1-1", "#example-3-2"} <= set(Page(html).values("href"))


def test_answers_lead_to_their_neighbours(html: str) -> None:
    page = Page(html)
    assert [page.text.count(f"{number} of 3") for number in (1, 2, 3)] == [1, 1, 1]
    assert page.text.count("next →") == page.text.count("← previous") == 2
    assert len(page.values("id")) == len(set(page.values("id")))


def test_a_long_answer_is_shown_in_full() -> None:
    n = MAX_SENTENCES + 50
    sentences = pa.Table.from_pylist(
        [
            {
                "sentence_index": i, "part": "reasoning", "start_byte": 2 * i,
                "end_byte": 2 * i + 2, "p_teacher": 0.5, "p_student": 0.5,
                "sentence_class": "common",
            }
            for i in range(n)
        ]
    )  # fmt: skip
    page = render_viewer("Long", [ExampleAnswer("r", "?", "a." * n, sentences)])
    assert page.count('title="common') == n


def test_a_page_of_nothing_says_so() -> None:
    assert "No answer with scored sentences." in Page(render_viewer("Nothing", [])).text
