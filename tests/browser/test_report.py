"""The report of a run on a phone, on paper, in light and in dark."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page
from support.browser import Shoot
from support.pipeline import Pipeline

pytestmark = [pytest.mark.slow, pytest.mark.deployment("browser")]

PHONE = {"width": 360, "height": 740}
PAPER = {"width": 718, "height": 1_000}
"""What A4 leaves between Chromium's margins, in pixels."""

OVERFLOW = "document.documentElement.scrollWidth - innerWidth"
BRIGHTNESS = """() => getComputedStyle(document.body).backgroundColor
    .match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3"""
UNFOLD = "() => document.querySelectorAll('details').forEach(each => { each.open = true })"
CUT = """() => [...document.querySelectorAll('div.scroll')]
    .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.getAttribute('aria-label'))"""
"""Tables that have to be scrolled sideways, by what they are of."""


@pytest.fixture(params=["stage_report.html", "provenance_viewer/low.html"])
def file(request: pytest.FixtureRequest, pipeline: Pipeline) -> Path:
    """A page that the pipeline has written."""
    return pipeline.home / "lake" / str(request.param)


def test_a_phone_needs_no_sideways_scrolling(file: Path, page: Page, shoot: Shoot) -> None:
    page.set_viewport_size(PHONE)
    page.goto(file.as_uri())
    page.evaluate(UNFOLD)
    assert page.evaluate(OVERFLOW) <= 0
    assert page.evaluate(CUT) == []
    shoot(page, file.stem)


def test_the_page_asks_for_nothing_but_itself(file: Path, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri(), wait_until="networkidle")
    assert asked == [file.as_uri()]


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_it_follows_the_screens_light(
    file: Path, page: Page, shoot: Shoot, scheme: str, is_dark: bool
) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(file.as_uri())
    assert (page.evaluate(BRIGHTNESS) < 60) == is_dark
    shoot(page, f"{file.stem}-{scheme}")


def test_paper_is_light_fits_and_has_what_is_folded_away(
    file: Path, page: Page, shoot: Shoot
) -> None:
    page.set_viewport_size(PAPER)
    page.emulate_media(media="print", color_scheme="dark")
    page.goto(file.as_uri())
    assert page.evaluate(BRIGHTNESS) == 255
    assert page.evaluate(OVERFLOW) <= 0
    folded = (
        "() => [...document.querySelectorAll('details > :not(summary)')].map(e => e.clientHeight)"
    )
    assert all(height > 0 for height in page.evaluate(folded))
    assert page.pdf(format="A4").startswith(b"%PDF")
    shoot(page, file.stem)
