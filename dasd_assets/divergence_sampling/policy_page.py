"""A page that shows what each selection policy would choose: overlap, lengths, classes, domains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dasd_assets.divergence_sampling.compare import Choice, Comparison
from dasd_assets.reporting.figures import (
    COLOURS,
    INK,
    OTHER_COLOURS,
    SENTENCE_CLASSES,
    add_legend,
    styled_axes,
    to_svg,
    words,
)
from dasd_assets.reporting.report import template

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW_INCHES = 0.3
READABLE_ON_DARK = 0.6
"""Share of overlap from which on the number stands in white."""


def render_policy_page(title: str, comparisons: Sequence[Comparison]) -> str:
    """The comparison of every temperature as one self-contained HTML page."""
    sections = [
        (
            comparison,
            comparison.described,
            [(to_svg(figure), caption) for figure, caption in _pictures(comparison)],
        )
        for comparison in comparisons
    ]
    return template("policies.html.j2").render(title=title, sections=sections).lstrip()


def _pictures(comparison: Comparison) -> list[tuple[Figure, str]]:
    described = [
        replace(choice, policy=f"{choice.policy} *")
        if choice.policy == comparison.configured
        else choice
        for choice in comparison.described
    ]
    domains = list(comparison.candidates.domain_shares)
    domain_colours = {
        name: OTHER_COLOURS[index % len(OTHER_COLOURS)] for index, name in enumerate(domains)
    }
    names = [choice.policy for choice in described[1 : 1 + len(comparison.choices)]]
    return [
        (overlap_matrix(names, comparison.overlap),
         "Answers that two policies both choose, over those that either chooses (Jaccard, %). "
         "* is the profile's policy, here and below."),
        (length_ranges(described),
         "Student tokens of the chosen answers: median, quartiles and the middle 80 %."),
        (stacked_shares("Sentence classes by policy",
                        {choice.policy: choice.class_shares for choice in described},
                        {name: COLOURS[name] for name in SENTENCE_CLASSES}),
         "Whose sentences are in the chosen answers."),
        (stacked_shares("Domains by policy",
                        {choice.policy: choice.domain_shares for choice in described},
                        domain_colours),
         "Domains of the chosen answers, by tokens."),
    ]  # fmt: skip


def overlap_matrix(names: Sequence[str], overlap: NDArray[np.float64]) -> Figure:
    """Jaccard index of every two policies, as shaded cells with the number in per cent.

    Args:
        overlap: shape (policies, policies), 0 to 1.
    """
    size = 1.6 + 1.4 * ROW_INCHES * len(names)
    with styled_axes("Overlap of the policies", width=1.2 + size, height=size) as (figure, axes):
        axes.grid(visible=False)
        axes.pcolormesh(np.flipud(overlap), cmap="Blues", vmin=0, vmax=1)
        places = np.arange(len(names)) + 0.5
        for row, column in np.ndindex(overlap.shape):
            value = overlap[row, column]
            axes.annotate(
                f"{100 * value:.0f}", (places[column], places[len(names) - 1 - row]),
                ha="center", va="center", color="white" if value > READABLE_ON_DARK else "#333333",
            )  # fmt: skip
        labels = [words(name) for name in names]
        axes.set_xticks(places, labels, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(places, labels[::-1])
        axes.tick_params(length=0)
    return figure


def length_ranges(choices: Sequence[Choice]) -> Figure:
    """Quantiles of the lengths, a line for each choice."""
    low, first, median, third, high = np.array([choice.lengths for choice in choices]).T
    with styled_axes("Lengths by policy", height=0.7 + ROW_INCHES * len(choices)) as (figure, axes):
        places = _rows(axes, [choice.policy for choice in choices])
        axes.hlines(places, low, high, color=INK, linewidth=1)
        axes.hlines(places, first, third, color=COLOURS["low"], linewidth=6)
        axes.scatter(median, places, color="white", edgecolors=INK, s=22, zorder=3)
        axes.set_xlabel("student tokens")
    return figure


def stacked_shares(
    title: str, shares: Mapping[str, Mapping[str, float]], colours: Mapping[str, str]
) -> Figure:
    """Shares that add up to 1, a bar for each choice.

    Args:
        shares: choice -> part -> share.
        colours: part -> colour, in the order in which the parts stand in a bar.
    """
    with styled_axes(title, height=1.1 + ROW_INCHES * len(shares)) as (figure, axes):
        places = _rows(axes, list(shares))
        left = np.zeros(len(shares))
        for part, colour in colours.items():
            widths = 100 * np.nan_to_num([parts[part] for parts in shares.values()])
            axes.barh(places, widths, left=left, height=0.72, color=colour, label=words(part))
            left += widths
        axes.set(xlabel="share (%)", xlim=(0, 100))
        add_legend(axes, columns=2)
    return figure


def _rows(axes: Axes, names: Sequence[str]) -> NDArray[np.float64]:
    """Heights of one row per name, the first on top."""
    places = np.arange(len(names), dtype=np.float64)
    axes.set_yticks(places, [words(name) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x", alpha=0.25)
    axes.set_ylim(len(names) - 0.5, -0.5)
    return places
