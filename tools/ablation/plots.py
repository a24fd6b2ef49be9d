"""The pictures of the ablation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dasd_assets.reporting.figures import COLOURS, INK, add_legend, colour_of, styled_axes, words
from resources.lake.tables.evaluation import CHECKPOINTS
from tools.ablation.results import ArmResult, Compared
from tools.ablation.statistics import Effect

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW_INCHES = 0.34


def arm_dots(results: Sequence[ArmResult]) -> Figure:
    """Accuracy of every arm: mean, interval, and a dot for each seed."""
    with styled_axes(
        "Accuracy of every arm", width=7.4, height=0.8 + ROW_INCHES * len(results)
    ) as (figure, axes):
        _rows(axes, [result.label for result in results], [result.mean for result in results])
        axes.set_xlabel("right answers, mean over the evaluation sets (%)")
    return figure


def difference_dots(comparisons: Sequence[Compared], labels: dict[str, str]) -> Figure:
    """Every paired difference with its interval, beside the line of no difference.

    Args:
        labels: arm -> how it is called.
    """
    with styled_axes(
        "Paired differences", width=7.4, height=0.8 + ROW_INCHES * len(comparisons)
    ) as (figure, axes):
        names = [
            f"{labels[each.comparison.better]}  −  {labels[each.comparison.worse]}"
            for each in comparisons
        ]
        axes.axvline(0, color=INK, linewidth=0.9, linestyle=":")
        _rows(axes, names, [each.effect for each in comparisons])
        axes.set_xlabel("difference in right answers (points); the paper says: right of 0")
    return figure


def stage_bars(stages: Sequence[ArmResult]) -> Figure:
    """Accuracy after each stage, a group of bars for each evaluation set."""
    with styled_axes("Accuracy after each stage", width=7.4) as (figure, axes):
        names = list(stages[0].by_benchmark)
        width = 0.8 / len(stages)
        for index, stage in enumerate(stages):
            found = list(stage.by_benchmark.values())
            places = np.arange(len(names)) + (index - (len(stages) - 1) / 2) * width
            axes.bar(places, [100 * each.value for each in found], width=width * 0.9,
                     color=colour_of(CHECKPOINTS[index], index), label=stage.label)  # fmt: skip
            axes.vlines(places, [100 * each.low for each in found],
                        [100 * each.high for each in found], color=INK, linewidth=1.4)  # fmt: skip
        axes.set_xticks(range(len(names)), [words(name) for name in names])
        axes.tick_params(axis="x", length=0)
        axes.set(ylabel="right answers (%)", ylim=(0, 105))
        add_legend(axes, columns=len(stages))
    return figure


def _rows(axes: Axes, names: Sequence[str], effects: Sequence[Effect]) -> None:
    """A row for each effect, the first on top."""
    places = np.arange(len(effects))
    for place, found in zip(places, effects, strict=True):
        seeds = 100 * np.array(found.by_seed)
        axes.scatter(seeds, np.full(len(seeds), place), s=12, color=COLOURS["low"], alpha=0.55,
                     linewidths=0, label="one seed" if not place else None)  # fmt: skip
    axes.hlines(places, [100 * each.low for each in effects], [100 * each.high for each in effects],
                color=INK, linewidth=1.6)  # fmt: skip
    axes.scatter([100 * each.value for each in effects], places, s=34, color=COLOURS["high"],
                 zorder=3, label="mean and interval")  # fmt: skip
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x", alpha=0.25)
    axes.set_ylim(len(effects) - 0.5, -0.5)
    add_legend(axes)
