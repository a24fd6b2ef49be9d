"""Plots of the stage report: figures that read on a light and on a dark page.

Each plot is a matplotlib figure; `to_svg` makes it markup for an HTML page, `to_markdown` an
image for Dagster's metadata. Backgrounds are transparent and colours are told apart by the
colour-blind (after Okabe and Ito). matplotlib is imported when the first figure is made.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from dasd_assets.evaluation.funnel import FunnelStep, kept_share, previous
from dasd_assets.evaluation.stage_table import StageRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK: Final = "#7b7f87"
"""Axes and text: a grey with enough contrast on white and on near-black."""

COLOURS: Final = {
    "low": "#2b8cc4",
    "high": "#d55e00",
    "base": "#8a8f98",
    "low_temperature": "#2b8cc4",
    "high_temperature": "#d55e00",
    "dasd": "#009e73",
    "teacher": "#009e73",
    "student": "#b45fa0",
    "shared": "#8a8f98",
    "selected": "#009e73",
    "random control": "#d55e00",
    "all": "#8a8f98",
}
"""Colour of each temperature, checkpoint, sentence class and set of candidates, in every plot."""

OTHER_COLOURS: Final = ("#2b8cc4", "#d55e00", "#009e73", "#b45fa0", "#b37d00")
SENTENCE_CLASSES: Final = ("teacher", "shared", "student")
N_DENSITY_POINTS: Final = 200
N_BINS: Final = 30
PNG_DOTS_PER_INCH: Final = 144

_STYLE: Final[dict[Any, Any]] = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.size": 9,
    "grid.alpha": 0.25,
    "grid.color": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
}

_SVG_CLEANING: Final = (
    (re.compile(r"<style.*?</style>", re.DOTALL), ""),  # would apply to the whole page
    (re.compile(r'<g id="[^"]*">'), "<g>"),  # the same names in every figure, never referred to
    (re.compile(r" font-family: [^;]*;"), ""),  # the page's own font
    (re.compile(r' transform="rotate\(-0 [^"]*"'), ""),
    (re.compile(r"(\d\.\d\d)\d+(?=[^<>]*>)"), r"\1"),  # attributes only, never a tick's text
    (re.compile(r"\s*\n\s*"), "\n"),
    (re.compile(re.escape(INK)), "currentColor"),
)
"""Makes matplotlib's SVG small and a part of the page: pattern -> replacement."""


def likelihood_density(p_by_temperature: Mapping[str, ArrayLike]) -> Figure:
    """Density of the teacher's certainty per temperature (paper Fig. 3a).

    Args:
        p_by_temperature: temperature -> geometric mean of the token probabilities of each answer
            (shape (answers,), 0 to 1).
    """
    with _axes("Likelihood of the teacher's answers per temperature") as (figure, axes):
        points = np.linspace(0, 1, N_DENSITY_POINTS)
        for index, (name, values) in enumerate(p_by_temperature.items()):
            density = _density(_finite(values), points)
            colour = _colour(name, index)
            axes.plot(points, density, color=colour, label=name)
            axes.fill_between(points, density, color=colour, alpha=0.15, linewidth=0)
        axes.set(xlabel="geometric-mean token probability", ylabel="density", xlim=(0, 1))
        axes.set_ylim(bottom=0)
        _legend(axes)
    return figure


def class_shares(sentences: pa.Table, n_bins: int = 10) -> dict[str, NDArray[np.float64]]:
    """Share of each sentence class by relative position in the answer (paper Fig. 6).

    Args:
        sentences: rows with the schema SENTENCE_PROVENANCE, whole responses (response_id,
            sentence_index and sentence_class are read); unscored sentences have no share.
        n_bins: bins from the beginning of an answer to its end.

    Returns:
        Class -> share per bin, shape (n_bins,); NaN where a bin has no scored sentence.
    """
    lengths = sentences.group_by("response_id").aggregate([("sentence_index", "max")])
    rows = sentences.select(["response_id", "sentence_index", "sentence_class"]).join(
        lengths, keys="response_id"
    )
    last = rows["sentence_index_max"].to_numpy().astype(np.float64)
    position = (rows["sentence_index"].to_numpy() + 0.5) / (last + 1)
    bins = np.minimum((position * n_bins).astype(np.int64), n_bins - 1)
    classes = np.array(rows["sentence_class"].to_pylist(), dtype=np.str_)
    counts = np.stack(
        [np.bincount(bins[classes == name], minlength=n_bins) for name in SENTENCE_CLASSES]
    )
    totals = counts.sum(axis=0)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    return dict(zip(SENTENCE_CLASSES, shares, strict=True))


def class_share_by_position(shares: Mapping[str, NDArray[np.float64]]) -> Figure:
    """Stacked shares of Teacher, Shared and Student Sentences along the answer (paper Fig. 6).

    Args:
        shares: from `class_shares`.
    """
    with _axes("Sentence classes by position in the answer") as (figure, axes):
        bottom = np.zeros(len(next(iter(shares.values()))))
        edges = np.linspace(0, 100, len(bottom) + 1)
        for name, values in shares.items():
            heights = 100 * np.nan_to_num(values)
            axes.bar(edges[:-1], heights, width=np.diff(edges) * 0.92, bottom=bottom, align="edge",
                     color=COLOURS[name], label=name)  # fmt: skip
            bottom += heights
        axes.set(xlabel="position in the answer (%)", ylabel="share of sentences (%)",
                 xlim=(0, 100), ylim=(0, 100))  # fmt: skip
        _legend(axes, columns=len(shares))
    return figure


def training_curves(logs: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Training loss of the stages, one after the other.

    Args:
        logs: stage -> log entries with `step` and `loss`; entries without a loss are left out.
    """
    with _axes("Training loss by stage", width=7.4) as (figure, axes):
        start = 0.0
        for index, (name, entries) in enumerate(logs.items()):
            points = [(entry["step"], entry["loss"]) for entry in entries if "loss" in entry]
            steps, losses = np.array(points, dtype=np.float64).reshape(-1, 2).T
            axes.plot(start + steps, losses, color=_colour(name, index), label=_words(name))
            if index:
                axes.axvline(start, color=INK, linewidth=0.8, linestyle=":")
            start += steps.max(initial=0)
        axes.set(xlabel="optimiser step, all stages", ylabel="loss")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        _legend(axes)
    return figure


def stage_bars(rows: Sequence[StageRow]) -> Figure:
    """avg@k of every checkpoint per evaluation set, with intervals; no bar where not measured."""
    with _axes("Accuracy after each stage", width=7.4) as (figure, axes):
        names = list(rows[0].scores) if rows else []
        width = 0.8 / max(len(rows), 1)
        for index, row in enumerate(rows):
            scores = [(column, score) for column, score in enumerate(row.scores.values()) if score]
            estimates = [score.avg_at_k for _, score in scores]
            values = [100 * estimate.value for estimate in estimates]
            low = [100 * estimate.low for estimate in estimates]
            high = [100 * estimate.high for estimate in estimates]
            places = [column + (index - (len(rows) - 1) / 2) * width for column, _ in scores]
            axes.bar(places, values, width=width * 0.9, color=_colour(row.checkpoint, index),
                     label=_words(row.checkpoint))  # fmt: skip
            axes.vlines(places, low, high, color=INK, linewidth=1.4)
        axes.set_xticks(range(len(names)), [_words(name) for name in names])
        axes.tick_params(axis="x", length=0)
        axes.set(ylabel="avg@k (%)", ylim=(0, 105))
        _legend(axes, columns=max(len(rows), 1))
    return figure


def score_distribution(scores: Mapping[str, ArrayLike], label: str = "score") -> Figure:
    """Distribution of the selection score: selected, random control and all candidates.

    Args:
        scores: set of candidates -> scores, shape (responses,).
        label: name of the score, for the axis.
    """
    with _axes("Scores of selected and other candidates") as (figure, axes):
        _histograms(axes, scores, label)
    return figure


def length_distribution(lengths: Mapping[str, ArrayLike], label: str = "tokens") -> Figure:
    """Distribution of answer lengths by temperature or checkpoint.

    Args:
        lengths: name -> tokens of each answer, shape (answers,).
        label: what is counted, for the axis.
    """
    with _axes("Answer lengths") as (figure, axes):
        _histograms(axes, lengths, label)
    return figure


def funnel_bars(steps: list[FunnelStep]) -> Figure:
    """Counts of every step as bars, with the share of the step before."""
    with _axes("Funnel", width=7.4, height=0.6 + 0.28 * len(steps)) as (figure, axes):
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
    with _axes("Filtering", width=7.4, height=0.9 + 0.32 * len(labels)) as (figure, axes):
        width = 0.8 / max(len(counts), 1)
        for index, (temperature, domains) in enumerate(counts.items()):
            sampled = [max(domains.get(domain, {}).get("sampled", 0), 1) for domain, _ in labels]
            broken = [domains.get(domain, {}).get(outcome, 0) for domain, outcome in labels]
            places = [row + (index - (len(counts) - 1) / 2) * width for row in range(len(labels))]
            shares = [100 * n / of for n, of in zip(broken, sampled, strict=True)]
            axes.barh(places, shares, height=width * 0.9, color=_colour(temperature, index),
                      label=temperature)  # fmt: skip
            for place, share, n in zip(places, shares, broken, strict=True):
                axes.annotate(f"{n:,}", (share, place), (3, 0), textcoords="offset points",
                              va="center", fontsize=7)  # fmt: skip
        names = [f"{_words(domain)} · {_words(outcome)}" for domain, outcome in labels]
        axes.set_yticks(range(len(labels)), names)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(xlabel="share of the sampled answers (%)", xlim=(0, 110))
        _legend(axes)
    return figure


def to_svg(figure: Figure) -> str:
    """The figure as an `<svg>` element to stand in an HTML page, the same for the same data.

    Text stays text, axes take the colour of the text around them, and the width follows the page.
    """
    import matplotlib as mpl

    title = str(figure.get_label())
    written = io.StringIO()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": "ids are repeatable"}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(written, format="svg", metadata=nothing)
    body = written.getvalue()
    body = body[body.index("<svg") :]
    view = body[body.index("viewBox=") :].split('"')[1]
    body = body[body.index(">") + 1 :].strip()
    for pattern, replacement in _SVG_CLEANING:
        body = pattern.sub(replacement, body)
    # Two plots of a page may have the same clip path: ids are told apart by what is drawn.
    drawn = hashlib.sha256(body.encode()).hexdigest()[:8]
    body = re.sub(r'( id="|url\(#|href="#)', rf"\1p{drawn}-", body)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{view}" role="img" aria-label="{escape(title)}">{body}'
    )


def to_markdown(figure: Figure) -> str:
    """The figure as a Markdown image with its PNG inside, for `MetadataValue.md`."""
    import matplotlib as mpl

    written = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(written, format="png", dpi=PNG_DOTS_PER_INCH, metadata={"Software": None})
    encoded = base64.b64encode(written.getvalue()).decode()
    return f"![{figure.get_label()}](data:image/png;base64,{encoded})"


@contextmanager
def _axes(title: str, width: float = 4.8, height: float = 2.9) -> Iterator[tuple[Figure, Axes]]:
    """A figure (inches) with one axes in the report's style; the title is its text alternative."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained", label=title)
        yield figure, figure.subplots()
        # The layout is settled once: laid out anew at every drawing it would drift.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def _colour(name: str, index: int) -> str:
    return COLOURS.get(name, OTHER_COLOURS[index % len(OTHER_COLOURS)])


def _words(name: str) -> str:
    return name.replace("_", " ")


def _legend(axes: Axes, columns: int = 3) -> None:
    """A legend above the plot, where it hides no data."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, borderaxespad=0.2)


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
                      color=_colour(name, index), label=_words(name))  # fmt: skip
    axes.set(xlabel=label, ylabel="share (%)")
    _legend(axes)
