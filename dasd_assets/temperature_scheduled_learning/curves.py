"""The course of one training stage as a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from dasd_assets.reporting.figures import INK, OTHER_COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS: Final = {
    "loss": "loss",
    "learning_rate": "learning rate",
    "grad_norm": "gradient norm before clipping",
    "tokens_per_second": "tokens/s",
}
"""Column of the training log -> what its panel is called."""


def stage_curves(log: Sequence[Mapping[str, float]]) -> Figure:
    """Loss, learning rate, gradient norm and speed by optimiser step.

    Args:
        log: lines of the training log, one per step.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.4, 4.2), layout="constrained", label="Training curves")
    figure.patch.set_alpha(0)
    steps = [row["step"] for row in log]
    for index, (column, title) in enumerate(PANELS.items()):
        axes = figure.add_subplot(2, 2, index + 1)
        axes.plot(steps, [row[column] for row in log], color=OTHER_COLOURS[index], linewidth=1.2)
        axes.set_title(title, color=INK, fontsize=9, loc="left")
        axes.set_xlabel("optimiser step", color=INK, fontsize=8)
        axes.set_ylim(bottom=0)
        axes.patch.set_alpha(0)
        axes.tick_params(colors=INK, labelsize=8)
        axes.grid(axis="y", alpha=0.25, color=INK)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["bottom", "left"]].set_color(INK)
    return figure
