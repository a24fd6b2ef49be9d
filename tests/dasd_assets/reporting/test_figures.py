"""Figures: what pages, metadata and files are made of them."""

from __future__ import annotations

import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from support.stages import LOG, ROWS

from dasd_assets.reporting import data_plots, figures, plots
from dasd_assets.reporting.funnel import FunnelStep

pytestmark = pytest.mark.slow

GENERATOR = np.random.default_rng(5)
P_BY_TEMPERATURE = {"low": GENERATOR.beta(30, 2, 500), "high": GENERATOR.beta(8, 3, 500)}


STEPS = [
    FunnelStep("teacher responses", "low", 1_200),
    FunnelStep("filtered responses", "low", 900, {"repetition": 300}),
]
SHARES = {"teacher": np.array([0.5, 0.0]), "common": np.array([0.5, 1.0]), "student": np.zeros(2)}
ALONG = [
    {"sentence_class": "teacher", "p_teacher": 0.9, "p_student": 0.3},
    {"sentence_class": "unscored", "p_teacher": None, "p_student": None},
    {"sentence_class": "student", "p_teacher": 0.2, "p_student": 0.6},
    {"sentence_class": "common", "p_teacher": 0.5, "p_student": 0.5},
]

FIGURES = {
    "likelihood": lambda: data_plots.likelihood_density(P_BY_TEMPERATURE),
    "classes": lambda: data_plots.class_share_by_position(SHARES),
    "along": lambda: data_plots.probabilities_along_answer(ALONG, "me"),
    "right_and_wrong": lambda: data_plots.class_share_right_and_wrong(SHARES, SHARES, "me"),
    "scores": lambda: data_plots.score_distribution(
        {"selected": [0.5, 0.9], "all": [0.1, 0.5, 0.9]}
    ),
    "lengths": lambda: data_plots.length_distribution({"low": [10, 20, 90]}, "student tokens"),
    "curves": lambda: plots.training_curves({"low_temperature": LOG, "dasd": LOG}),
    "bars": lambda: plots.stage_bars(ROWS),
    "funnel": lambda: plots.funnel_bars(STEPS),
    "filters": lambda: plots.filter_funnel(
        {"low": {"math": {"sampled": 8, "kept": 6, "no_reasoning": 2}}}
    ),
}


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.text]


@pytest.mark.parametrize("name", FIGURES)
def test_svg_is_well_formed_small_repeatable_and_follows_the_page(name: str) -> None:
    svg = figures.to_svg(FIGURES[name]())
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert figures.to_svg(FIGURES[name]()) == svg
    assert len(svg) < 40_000
    assert 'width="' not in svg.split(">")[0]
    for unwanted in ("<style", "font-family", "<metadata", "#000000", figures.INK):
        assert unwanted not in svg
    assert "currentColor" in svg


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("likelihood", {"low", "high", "density"}),
        ("classes", {"teacher", "common", "student"}),
        ("along", {"p_T", "p_S", "teacher", "student", "common"}),
        ("filters", {"math · no reasoning", "low"}),
        ("curves", {"low temperature", "dasd", "loss"}),
        ("bars", {"base", "dasd", "math", "overall"}),
        ("scores", {"selected", "all", "score"}),
        ("lengths", {"low", "student tokens"}),
        ("funnel", {"teacher responses · low", "1,200", "900  (75.0%)"}),
    ],
)
def test_labels_stay_text(name: str, expected: set[str]) -> None:
    assert expected <= set(texts(figures.to_svg(FIGURES[name]())))


def test_a_figure_can_be_drawn_twice() -> None:
    figure = FIGURES["classes"]()
    assert figures.to_svg(figure) == figures.to_svg(figure)


@pytest.mark.parametrize("name", FIGURES)
def test_a_picture_is_the_same_for_the_same_figure_and_small(name: str) -> None:
    picture = figures.to_png(FIGURES[name]())
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert figures.to_png(FIGURES[name]()) == picture
    assert len(picture) < 75_000
    # The UI would cut it at the right.
    narrow = figures.to_png(FIGURES[name](), figures.PIXELS_IN_THE_UI)
    assert int.from_bytes(narrow[16:20], "big") == 520


def test_plots_of_one_page_share_no_ids() -> None:
    ids = [
        set(
            re.findall(
                r' id="([^"]*)"', figures.to_svg(data_plots.score_distribution({"all": values}))
            )
        )
        for values in ([1.0, 2.0], [1.0, 1.0, 2.0])
    ]
    assert ids[0]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize(
    "figure",
    [
        lambda: data_plots.likelihood_density({"low": []}),
        lambda: data_plots.score_distribution({"selected": [], "all": []}),
        lambda: data_plots.length_distribution({}),
        lambda: data_plots.class_share_by_position(dict.fromkeys(SHARES, np.full(2, np.nan))),
        lambda: data_plots.probabilities_along_answer([], "me"),
        lambda: plots.filter_funnel({}),
        lambda: plots.training_curves({"low_temperature": [], "dasd": []}),
        lambda: plots.stage_bars([]),
        lambda: plots.funnel_bars([]),
        lambda: plots.funnel_bars([FunnelStep("questions", None, 0)]),
    ],
)
def test_nothing_to_plot_is_an_empty_plot(figure: object) -> None:
    assert figures.to_svg(figure()).startswith("<svg")  # type: ignore[operator]


def test_names_are_text_and_tick_labels_keep_their_digits() -> None:
    svg = figures.to_svg(data_plots.length_distribution({"$x<y$": [0.00012, 0.00034]}, "a & b"))
    assert {"$x<y$", "a & b"} <= set(texts(svg))
    assert any(text.startswith("0.00015") for text in texts(svg))


def test_matplotlib_is_not_imported_before_the_first_plot() -> None:
    code = "import sys, dasd_assets.reporting.pictures; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
