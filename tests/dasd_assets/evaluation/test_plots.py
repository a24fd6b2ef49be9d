"""Plots of the stage report: what they show and what they are made of."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest

from dasd_assets.evaluation import plots
from dasd_assets.evaluation.funnel import FunnelStep
from dasd_assets.evaluation.metrics import OVERALL, Estimate, Score
from dasd_assets.evaluation.stage_table import StageRow

GENERATOR = np.random.default_rng(5)
P_BY_TEMPERATURE = {"low": GENERATOR.beta(30, 2, 500), "high": GENERATOR.beta(8, 3, 500)}


def score(checkpoint: str, value: float) -> Score:
    estimate = Estimate(value, value - 0.1, value + 0.1, 0.95)
    return Score(checkpoint, "math", 10, 20, 2, estimate, value, 0.0, 50.0)


ROWS = [
    StageRow("base", {"math": score("base", 0.2), OVERALL: None}, {}, {}),
    StageRow("dasd", {"math": score("dasd", 0.8), OVERALL: score("dasd", 0.8)}, {}, {}),
]
STEPS = [
    FunnelStep("teacher responses", "low", 1_200),
    FunnelStep("filtered responses", "low", 900, {"repetition": 300}),
]
LOG = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}, {"step": 2, "train_runtime": 3.0}]
SENTENCES = pa.table(
    {
        "response_id": ["a", "a", "b", "b", "b", "b"],
        "sentence_index": pa.array([0, 1, 0, 1, 2, 3], pa.int32()),
        "sentence_class": ["teacher", "shared", "teacher", "student", "unscored", "shared"],
    }
)

FIGURES = {
    "likelihood": lambda: plots.likelihood_density(P_BY_TEMPERATURE),
    "classes": lambda: plots.class_share_by_position(plots.class_shares(SENTENCES, 2)),
    "curves": lambda: plots.training_curves({"low_temperature": LOG, "dasd": LOG}),
    "bars": lambda: plots.stage_bars(ROWS),
    "scores": lambda: plots.score_distribution({"selected": [0.5, 0.9], "all": [0.1, 0.5, 0.9]}),
    "lengths": lambda: plots.length_distribution({"low": [10, 20, 90]}, "student tokens"),
    "funnel": lambda: plots.funnel_bars(STEPS),
}


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.text]


@pytest.mark.parametrize("name", FIGURES)
def test_svg_is_well_formed_small_repeatable_and_follows_the_page(name: str) -> None:
    svg = plots.to_svg(FIGURES[name]())
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert plots.to_svg(FIGURES[name]()) == svg
    assert len(svg) < 40_000
    assert 'width="' not in svg.split(">")[0]
    for unwanted in ("<style", "font-family", "<metadata", "#000000", plots.INK):
        assert unwanted not in svg
    assert "currentColor" in svg


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("likelihood", {"low", "high", "density"}),
        ("classes", {"teacher", "shared", "student"}),
        ("curves", {"low temperature", "dasd", "loss"}),
        ("bars", {"base", "dasd", "math", "overall"}),
        ("scores", {"selected", "all", "score"}),
        ("lengths", {"low", "student tokens"}),
        ("funnel", {"teacher responses · low", "1,200", "900  (75.0%)"}),
    ],
)
def test_labels_stay_text(name: str, expected: set[str]) -> None:
    assert expected <= set(texts(plots.to_svg(FIGURES[name]())))


def test_a_figure_can_be_drawn_twice() -> None:
    figure = FIGURES["classes"]()
    assert plots.to_svg(figure) == plots.to_svg(figure)


def test_markdown_holds_a_png() -> None:
    markdown = plots.to_markdown(FIGURES["bars"]())
    start = "![Accuracy after each stage](data:image/png;base64,"
    assert markdown.startswith(start)
    assert base64.b64decode(markdown.removeprefix(start)[:-1])[:8] == b"\x89PNG\r\n\x1a\n"
    assert plots.to_markdown(FIGURES["bars"]()) == markdown


def test_density_has_mass_one_inside_the_unit_interval() -> None:
    for line in plots.likelihood_density(P_BY_TEMPERATURE).axes[0].lines:
        points, density = line.get_data()
        assert np.trapezoid(density, points) == pytest.approx(1, abs=0.02)
    low, high = plots.likelihood_density(P_BY_TEMPERATURE).axes[0].lines
    assert max(low.get_ydata()) > 2 * max(high.get_ydata())


def test_density_of_equal_values_is_a_peak_there() -> None:
    points, density = plots.likelihood_density({"low": [0.5] * 9}).axes[0].lines[0].get_data()
    assert points[np.argmax(density)] == pytest.approx(0.5, abs=0.01)


def test_class_shares_by_hand() -> None:
    shares = plots.class_shares(SENTENCES, n_bins=2)
    # First halves: teacher, teacher, student. Second halves: shared, shared (one unscored).
    assert shares["teacher"] == pytest.approx([2 / 3, 0])
    assert shares["student"] == pytest.approx([1 / 3, 0])
    assert shares["shared"] == pytest.approx([0, 1])


def test_a_bin_without_scored_sentences_has_no_share() -> None:
    shares = plots.class_shares(SENTENCES.slice(0, 1), n_bins=3)
    assert [np.isnan(values).tolist() for values in shares.values()] == [[True, False, True]] * 3


def test_stages_follow_each_other_and_entries_without_loss_are_left_out() -> None:
    first, second = plots.training_curves({"low_temperature": LOG, "dasd": LOG}).axes[0].lines[:2]
    assert first.get_xydata().tolist() == [[1, 2], [2, 1]]
    assert second.get_xydata().tolist() == [[3, 2], [4, 1]]


def test_no_bar_where_nothing_was_measured() -> None:
    base, dasd = plots.stage_bars(ROWS).axes[0].containers
    assert [bar.get_height() for bar in base] == [20]
    assert [bar.get_height() for bar in dasd] == [80, 80]


def test_equal_samples_give_equal_histograms_whatever_their_size() -> None:
    samples = {"all": [1.0, 2.0] * 50, "selected": [1.0, 2.0]}
    heights = [
        max(patch.get_xy()[:, 1]) for patch in plots.score_distribution(samples).axes[0].patches
    ]
    assert heights == pytest.approx([50, 50])


def test_values_that_are_not_finite_are_left_out() -> None:
    odd = plots.length_distribution({"low": [1.0, 2.0, np.nan, np.inf]})
    assert plots.to_svg(odd) == plots.to_svg(plots.length_distribution({"low": [1.0, 2.0]}))


def test_plots_of_one_page_share_no_ids() -> None:
    ids = [
        set(re.findall(r' id="([^"]*)"', plots.to_svg(plots.score_distribution({"all": values}))))
        for values in ([1.0, 2.0], [1.0, 1.0, 2.0])
    ]
    assert ids[0]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize(
    "figure",
    [
        lambda: plots.likelihood_density({"low": []}),
        lambda: plots.score_distribution({"selected": [], "all": []}),
        lambda: plots.length_distribution({}),
        lambda: plots.class_share_by_position(plots.class_shares(SENTENCES.slice(0, 0))),
        lambda: plots.training_curves({"low_temperature": [], "dasd": []}),
        lambda: plots.stage_bars([]),
        lambda: plots.funnel_bars([]),
        lambda: plots.funnel_bars([FunnelStep("questions", None, 0)]),
    ],
)
def test_nothing_to_plot_is_an_empty_plot(figure: object) -> None:
    assert plots.to_svg(figure()).startswith("<svg")  # type: ignore[operator]


def test_names_are_text_and_tick_labels_keep_their_digits() -> None:
    svg = plots.to_svg(plots.length_distribution({"$x<y$": [0.00012, 0.00034]}, "a & b"))
    assert {"$x<y$", "a & b"} <= set(texts(svg))
    assert any(text.startswith("0.00015") for text in texts(svg))


def test_matplotlib_is_not_imported_before_the_first_plot() -> None:
    code = "import sys, dasd_assets.evaluation.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
