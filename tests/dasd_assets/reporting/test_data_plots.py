"""Plots of the data: what they show."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from dasd_assets.reporting import data_plots, figures
from dasd_assets.reporting.picture_data import CutOffRates

GENERATOR = np.random.default_rng(5)
P_BY_TEMPERATURE = {"low": GENERATOR.beta(30, 2, 500), "high": GENERATOR.beta(8, 3, 500)}


def test_density_has_mass_one_inside_the_unit_interval() -> None:
    for line in data_plots.likelihood_density(P_BY_TEMPERATURE).axes[0].lines:
        points, density = line.get_data()
        assert np.trapezoid(density, points) == pytest.approx(1, abs=0.02)
    low, high = data_plots.likelihood_density(P_BY_TEMPERATURE).axes[0].lines
    assert max(low.get_ydata()) > 2 * max(high.get_ydata())


def test_density_of_equal_values_is_a_peak_there() -> None:
    points, density = data_plots.likelihood_density({"low": [0.5] * 9}).axes[0].lines[0].get_data()
    assert points[np.argmax(density)] == pytest.approx(0.5, abs=0.01)


def test_equal_samples_give_equal_histograms_whatever_their_size() -> None:
    samples = {"all": [1.0, 2.0] * 50, "selected": [1.0, 2.0]}
    heights = [
        max(patch.get_xy()[:, 1])
        for patch in data_plots.score_distribution(samples).axes[0].patches
    ]
    assert heights == pytest.approx([50, 50])


def test_values_that_are_not_finite_are_left_out() -> None:
    odd = data_plots.length_distribution({"low": [1.0, 2.0, np.nan, np.inf]})
    assert figures.to_svg(odd) == figures.to_svg(
        data_plots.length_distribution({"low": [1.0, 2.0]})
    )


def along(n: int) -> list[dict[str, object]]:
    return [
        {"sentence_class": "teacher", "p_teacher": 0.9, "p_student": 0.3},
        {"sentence_class": "unscored", "p_teacher": None, "p_student": None},
        {"sentence_class": "student", "p_teacher": 0.2, "p_student": 0.6},
    ] * n


def test_the_models_are_lines_over_bars_in_the_colours_of_the_classes() -> None:
    axes = data_plots.probabilities_along_answer(along(1), "me").axes[0]
    teacher, student = axes.lines
    assert teacher.get_xydata().tolist()[::2] == [[1, 0.9], [3, 0.2]]
    assert student.get_xydata().tolist()[::2] == [[1, 0.3], [3, 0.6]]
    assert np.isnan(teacher.get_ydata()[1])
    bars = {bar.get_x() + 0.5: bar.get_facecolor()[:3] for bar in axes.patches}
    assert bars == {
        1: to_rgb(figures.COLOURS["teacher"]), 3: to_rgb(figures.COLOURS["student"])
    }  # fmt: skip


def test_of_a_distilled_models_answer_there_are_three_lines() -> None:
    sentence = {"sentence_class": "boosted", "p_teacher": 0.2, "p_student": 0.3, "p_distilled": 0.9}
    axes = data_plots.probabilities_along_answer([sentence], "dasd").axes[0]
    assert [line.get_label() for line in axes.lines] == ["p_T", "p_S", "p_D"]
    assert axes.lines[2].get_ydata().tolist() == [0.9]


def test_right_answers_are_solid_wrong_ones_dashed_and_the_mean_difference_is_named() -> None:
    right = {"teacher": np.array([0.5, 0.7]), "boosted": np.array([0.5, np.nan])}
    wrong = {"teacher": np.array([0.4, 0.4]), "boosted": np.array([0.6, 0.6])}
    axes = data_plots.class_share_right_and_wrong(right, wrong, "dasd").axes[0]
    assert [line.get_linestyle() for line in axes.lines] == ["-", "--"] * 2
    assert axes.lines[0].get_xydata().tolist() == [[25, 50], [75, 70]]
    labels = axes.get_legend_handles_labels()[1]
    assert labels == ["teacher Δ +20.0", "boosted Δ -10.0"]


def test_of_a_long_answer_the_first_sentences_are_drawn_and_the_title_says_so() -> None:
    figure = data_plots.probabilities_along_answer(along(100), "me")
    assert len(figure.axes[0].lines[0].get_xdata()) == data_plots.MAX_SENTENCES_DRAWN
    assert f"the first {data_plots.MAX_SENTENCES_DRAWN} of 300" in figure.get_label()
    assert len(figures.to_png(figure)) < 75_000


def test_every_bin_of_lengths_is_a_bar_with_its_rollouts() -> None:
    rates = CutOffRates(*np.array([[5, 900], [5, 1_200], [40, 1_030], [0.25, 1.0]]))
    axes = data_plots.cut_off_rate(rates).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [25, 100]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["5", "900–1,200"]
    assert [text.get_text() for text in axes.texts] == ["40", "1,030"]
    assert not data_plots.cut_off_rate(CutOffRates(*np.empty((4, 0)))).axes[0].patches
