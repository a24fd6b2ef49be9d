"""Plots of a run: what each stage gained, how it was trained, what each step let through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dasd_assets.reporting.figures import COLOURS, INK, add_legend, colour_of, styled_axes, words
from dasd_assets.reporting.funnel import FunnelStep, kept_share, previous
from dasd_assets.reporting.stage_table import StageRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def training_curves(logs: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Training loss of the stages, one after the other.

    Args:
        logs: stage -> log entries with `step` and `loss`; entries without a loss are left out.
    """
    with styled_axes("Training loss by stage", width=7.4) as (figure, axes):
        start = 0.0
        for index, (name, entries) in enumerate(logs.items()):
            points = [(entry["step"], entry["loss"]) for entry in entries if "loss" in entry]
            steps, losses = np.array(points, dtype=np.float64).reshape(-1, 2).T
            axes.plot(start + steps, losses, color=colour_of(name, index), label=words(name))
            if index:
                axes.axvline(start, color=INK, linewidth=0.8, linestyle=":")
            start += steps.max(initial=0)
        axes.set(xlabel="optimiser step, all stages", ylabel="loss")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        add_legend(axes)
    return figure


def stage_bars(rows: Sequence[StageRow]) -> Figure:
    """avg@k of every checkpoint per evaluation set, with intervals; no bar where not measured."""
    with styled_axes("Accuracy after each stage", width=7.4) as (figure, axes):
        names = list(rows[0].scores) if rows else []
        width = 0.8 / max(len(rows), 1)
        for index, row in enumerate(rows):
            scores = [(column, score) for column, score in enumerate(row.scores.values()) if score]
            estimates = [score.avg_at_k for _, score in scores]
            values = [100 * estimate.value for estimate in estimates]
            low = [100 * estimate.low for estimate in estimates]
            high = [100 * estimate.high for estimate in estimates]
            places = [column + (index - (len(rows) - 1) / 2) * width for column, _ in scores]
            axes.bar(places, values, width=width * 0.9, color=colour_of(row.checkpoint, index),
                     label=words(row.checkpoint))  # fmt: skip
            axes.vlines(places, low, high, color=INK, linewidth=1.4)
        axes.set_xticks(range(len(names)), [words(name) for name in names])
        axes.tick_params(axis="x", length=0)
        axes.set(ylabel="avg@k (%)", ylim=(0, 105))
        add_legend(axes, columns=max(len(rows), 1))
    return figure


def funnel_bars(steps: list[FunnelStep]) -> Figure:
    """Counts of every step as bars, with the share of the step before."""
    with styled_axes("Funnel", width=7.4, height=0.6 + 0.28 * len(steps)) as (figure, axes):
        labels = [" · ".join(filter(None, [step.name, step.temperature])) for step in steps]
        colours = [COLOURS.get(step.temperature or "", COLOURS["all"]) for step in steps]
        places = range(len(steps))
        axes.barh(places, [step.n for step in steps], color=colours, height=0.72)
        for place, step, before in zip(places, steps, previous(steps), strict=True):
            share = kept_share(step, before)
            note = f"{step.n:,}" + ("" if share is None else f"  ({share:.1%})")
            axes.annotate(note, (step.n, place), (4, 0), textcoords="offset points", va="center")
        axes.set_yticks(places, labels)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.18 * max([step.n for step in steps], default=1) or 1)
        axes.set_xticks([])
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
    return figure


def filter_funnel(counts: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Figure:
    """Share of the answers that were kept, and that broke each rule, per domain and temperature.

    Args:
        counts: temperature -> domain -> `sampled`, `kept` and rules -> answers.
    """
    labels = list(
        dict.fromkeys(
            (domain, outcome)
            for domain in sorted({domain for domains in counts.values() for domain in domains})
            for domains in counts.values()
            for outcome in domains.get(domain, {})
            if outcome != "sampled"
        )
    )
    with styled_axes("Filtering", width=7.4, height=0.9 + 0.32 * len(labels)) as (figure, axes):
        width = 0.8 / max(len(counts), 1)
        for index, (temperature, domains) in enumerate(counts.items()):
            sampled = [max(domains.get(domain, {}).get("sampled", 0), 1) for domain, _ in labels]
            broken = [domains.get(domain, {}).get(outcome, 0) for domain, outcome in labels]
            places = [row + (index - (len(counts) - 1) / 2) * width for row in range(len(labels))]
            shares = [100 * n / of for n, of in zip(broken, sampled, strict=True)]
            axes.barh(places, shares, height=width * 0.9, color=colour_of(temperature, index),
                      label=temperature)  # fmt: skip
            for place, share, n in zip(places, shares, broken, strict=True):
                axes.annotate(f"{n:,}", (share, place), (3, 0), textcoords="offset points",
                              va="center", fontsize=7)  # fmt: skip
        names = [f"{words(domain)} · {words(outcome)}" for domain, outcome in labels]
        axes.set_yticks(range(len(labels)), names)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(xlabel="share of the sampled answers (%)", xlim=(0, 110))
        add_legend(axes)
    return figure
