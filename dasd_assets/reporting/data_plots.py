"""Plots of the data: likelihoods, lengths, scores, sentence classes (paper Figs. 3a, 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dasd_assets.reporting.figures import (
    ANSWER_CLASSES,
    COLOURS,
    INK,
    SENTENCE_CLASSES,
    add_legend,
    colour_of,
    styled_axes,
    words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dasd_assets.reporting.picture_data import CutOffRates

N_DENSITY_POINTS: Final = 200
N_BINS: Final = 30
MODEL_LINES: Final = {
    "p_teacher": ("p_T", "-"), "p_student": ("p_S", ":"), "p_distilled": ("p_D", "--"),
}  # fmt: skip
"""Column -> name and line style of a model."""
MAX_SENTENCES_DRAWN: Final = 120
"""Sentences that are drawn of one answer: more would be closer than a line is wide."""


def likelihood_density(
    p_by_name: Mapping[str, ArrayLike],
    title: str = "Likelihood of the teacher's answers per temperature",
) -> Figure:
    """Density of the teacher's certainty per temperature or sample (paper Figs. 3a and 10).

    Args:
        p_by_name: temperature or sample -> geometric mean of the token probabilities of each answer
            (shape (answers,), 0 to 1).
    """
    with styled_axes(title) as (figure, axes):
        points = np.linspace(0, 1, N_DENSITY_POINTS)
        for index, (name, values) in enumerate(p_by_name.items()):
            density = _density(_finite(values), points)
            colour = colour_of(name, index)
            axes.plot(points, density, color=colour, label=words(name))
            axes.fill_between(points, density, color=colour, alpha=0.15, linewidth=0)
        least = min((_finite(values).min(initial=1) for values in p_by_name.values()),
                    default=0)  # fmt: skip
        axes.set(xlabel="geometric-mean token probability", ylabel="density",
                 xlim=(min(np.floor(10 * least) / 10, 0.9), 1))  # fmt: skip
        axes.set_ylim(bottom=0)
        add_legend(axes)
    return figure


def class_share_by_position(
    shares: Mapping[str, NDArray[np.float64]], of: str = "all answers"
) -> Figure:
    """Stacked shares of Teacher, Common and Student Sentences along the answer (paper Fig. 6).

    Args:
        shares: from `picture_data.class_shares`.
        of: whose sentences, for the title.
    """
    with styled_axes(f"Sentence classes by position in {of}") as (figure, axes):
        bottom = np.zeros(len(next(iter(shares.values()))))
        edges = np.linspace(0, 100, len(bottom) + 1)
        for name, values in shares.items():
            heights = 100 * np.nan_to_num(values)
            axes.bar(edges[:-1], heights, width=np.diff(edges) * 0.92, bottom=bottom, align="edge",
                     color=COLOURS[name], label=name)  # fmt: skip
            bottom += heights
        axes.set(xlabel="position in the answer (%)", ylabel="share of sentences (%)",
                 xlim=(0, 100), ylim=(0, 100))  # fmt: skip
        add_legend(axes, columns=len(shares))
    return figure


def class_share_right_and_wrong(
    right: Mapping[str, NDArray[np.float64]], wrong: Mapping[str, NDArray[np.float64]], of: str
) -> Figure:
    """Share of each class by position, right answers solid, wrong ones dashed (paper Fig. 6).

    The area between the two has the mean difference Δ as its label.

    Args:
        right, wrong: from `picture_data.class_shares`, with the same classes.
        of: whose sentences, for the title.
    """
    title = f"Sentence classes in right and wrong answers of {of}"
    with styled_axes(title, width=7.4) as (figure, axes):
        for name, solid in right.items():
            dashed, colour = wrong[name], COLOURS[name]
            position = (np.arange(len(solid)) + 0.5) * 100 / len(solid)
            delta = 100 * np.nanmean(solid - dashed) if np.isfinite(solid - dashed).any() else 0.0
            axes.plot(position, 100 * solid, color=colour, label=f"{name} Δ {delta:+.1f}")
            axes.plot(position, 100 * dashed, color=colour, linestyle="--")
            axes.fill_between(position, 100 * solid, 100 * dashed, color=colour, alpha=0.15,
                              linewidth=0)  # fmt: skip
        axes.set(xlabel="position in the answer (%)", ylabel="share of sentences (%)",
                 xlim=(0, 100))  # fmt: skip
        axes.set_ylim(bottom=0)
        add_legend(axes, columns=len(right))
    return figure


def probabilities_along_answer(sentences: Sequence[Mapping[str, Any]], of: str) -> Figure:
    """What each model gives every sentence of an answer, over its class (paper Fig. 5).

    Args:
        sentences: sentence_class, p_teacher, p_student and, of a distilled model's answer,
            p_distilled (None if unscored), in their order; of more than MAX_SENTENCES_DRAWN the
            first are drawn.
        of: whose answer, for the title.
    """
    from matplotlib.ticker import MaxNLocator

    drawn = sentences[:MAX_SENTENCES_DRAWN]
    number = np.arange(1, len(drawn) + 1)
    title = f"Probabilities along one answer of {of}"
    if len(drawn) < len(sentences):
        title += f" (the first {len(drawn)} of {len(sentences)} sentences)"
    with styled_axes(title, width=7.4) as (figure, axes):
        for name in dict.fromkeys((*SENTENCE_CLASSES, *ANSWER_CLASSES)):
            mine = [place for place, row in zip(number, drawn, strict=True)
                    if row["sentence_class"] == name]  # fmt: skip
            if mine:
                axes.bar(mine, 1.06, width=1, bottom=-0.03, color=COLOURS[name], alpha=0.25,
                         linewidth=0, label=name)  # fmt: skip
        for name, (label, style) in MODEL_LINES.items():
            if drawn and name in drawn[0]:
                values = np.array([row[name] for row in drawn], np.float64)  # None is NaN
                axes.plot(number, values, color=INK, linewidth=1.1, linestyle=style, marker=".",
                          markersize=3, label=label)  # fmt: skip
        axes.set(xlabel="sentence", ylabel="geometric-mean token probability", ylim=(-0.03, 1.03))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        add_legend(axes, columns=7)
    return figure


def cut_off_rate(rates: CutOffRates) -> Figure:
    """Share of the rollouts that their cap cuts off, by the teacher's length (paper Fig. 7).

    Args:
        rates: from `picture_data.cut_off_rates`.
    """
    with styled_axes("Rollouts cut off, by length of the teacher's answer") as (figure, axes):
        places = np.arange(len(rates.share))
        axes.bar(places, 100 * rates.share, width=0.84, color=COLOURS["student"])
        for place, share, n in zip(places, rates.share, rates.rollouts, strict=True):
            axes.annotate(f"{n:,.0f}", (place, 100 * share), (0, 2), textcoords="offset points",
                          ha="center", fontsize=6)  # fmt: skip
        names = [
            f"{low:,.0f}" if low == high else f"{low:,.0f}–{high:,.0f}"
            for low, high in zip(rates.shortest, rates.longest, strict=True)
        ]
        axes.set_xticks(places, names, rotation=35, ha="right", fontsize=6)
        axes.tick_params(axis="x", length=0)
        axes.set(xlabel="student tokens of the teacher's answer (on the bars: rollouts)",
                 ylabel="cut off by the cap (%)", ylim=(0, 108))  # fmt: skip
    return figure


def score_distribution(scores: Mapping[str, ArrayLike], label: str = "score") -> Figure:
    """Distribution of the selection score: selected, both controls and all candidates.

    Args:
        scores: set of candidates -> scores, shape (responses,).
        label: name of the score, for the axis.
    """
    with styled_axes("Scores of selected and other candidates") as (figure, axes):
        _histograms(axes, scores, label)
    return figure


def length_distribution(lengths: Mapping[str, ArrayLike], label: str = "tokens") -> Figure:
    """Distribution of answer lengths by temperature or checkpoint.

    Args:
        lengths: name -> tokens of each answer, shape (answers,).
        label: what is counted, for the axis.
    """
    with styled_axes("Answer lengths") as (figure, axes):
        _histograms(axes, lengths, label)
    return figure


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    """The values that have a place on an axis."""
    array = np.asarray(values, dtype=np.float64)
    return array[np.isfinite(array)]


def _density(values: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian kernel density on [0, 1], Silverman's bandwidth, mass mirrored at both ends."""
    if not len(values):
        return np.zeros_like(points)
    quartiles = np.subtract(*np.quantile(values, [0.75, 0.25])) / 1.349
    spread = min(values.std(), quartiles) or values.std()
    bandwidth = max(0.9 * spread * len(values) ** -0.2, 0.005)
    # Binned first, so that the cost does not grow with the number of answers.
    counts, edges = np.histogram(values, bins=4 * N_DENSITY_POINTS, range=(0, 1))
    centres = (edges[:-1] + edges[1:]) / 2
    mirrored = np.concatenate([centres, -centres, 2 - centres])
    kernels = np.exp(-0.5 * ((points[:, None] - mirrored) / bandwidth) ** 2)
    return kernels @ np.tile(counts, 3) / (len(values) * bandwidth * np.sqrt(2 * np.pi))


def _histograms(axes: Axes, samples: Mapping[str, ArrayLike], label: str) -> None:
    """Outlined histograms over common bins, each with area 1."""
    arrays = {name: _finite(values) for name, values in samples.items()}
    together = np.concatenate([*arrays.values(), np.empty(0)])
    bins = np.histogram_bin_edges(together, bins=N_BINS)
    for index, (name, values) in enumerate(arrays.items()):
        if len(values):
            shares = np.full(len(values), 100 / len(values))
            axes.hist(values, bins=list(bins), weights=shares, histtype="step", linewidth=1.6,
                      color=colour_of(name, index), label=words(name))  # fmt: skip
    axes.set(xlabel=label, ylabel="share (%)")
    add_legend(axes)
