"""Plots of a run: what they show."""

from __future__ import annotations

from support.stages import LOG, ROWS

from dasd_assets.reporting import plots


def test_stages_follow_each_other_and_entries_without_loss_are_left_out() -> None:
    first, second = plots.training_curves({"low_temperature": LOG, "dasd": LOG}).axes[0].lines[:2]
    assert first.get_xydata().tolist() == [[1, 2], [2, 1]]
    assert second.get_xydata().tolist() == [[3, 2], [4, 1]]


def test_no_bar_where_nothing_was_measured() -> None:
    base, dasd = plots.stage_bars(ROWS).axes[0].containers
    assert [bar.get_height() for bar in base] == [20]
    assert [bar.get_height() for bar in dasd] == [80, 80]


def test_filtering_has_a_bar_per_domain_outcome_and_temperature() -> None:
    counts = {
        "low": {"math": {"sampled": 8, "kept": 6, "too_long": 2}},
        "high": {"math": {"sampled": 4, "kept": 4}, "code": {"sampled": 2, "kept": 0}},
    }
    axes = plots.filter_funnel(counts).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["code · kept", "math · kept", "math · too long"]
    low, high = axes.containers
    assert [bar.get_width() for bar in low] == [0, 75, 25]
    assert [bar.get_width() for bar in high] == [0, 100, 0]


def test_filtering_of_nothing_is_an_empty_plot() -> None:
    assert not plots.filter_funnel({"low": {}}).axes[0].get_yticklabels()
