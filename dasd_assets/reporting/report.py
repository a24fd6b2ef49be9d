"""The stage report: one HTML page that needs nothing but itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow as pa
from markupsafe import Markup, escape

from dasd_assets.reporting.class_deltas import DELTA_HEADER, ClassDelta, delta_rows
from dasd_assets.reporting.compared import Change
from dasd_assets.reporting.data_quality import DataQuality
from dasd_assets.reporting.diagnosis import NOTHING_FOUND, Finding
from dasd_assets.reporting.funnel import FunnelStep, kept_share, largest_losses, previous
from dasd_assets.reporting.metrics import OVERALL, PairedDifference
from dasd_assets.reporting.stage_table import (
    NOT_MEASURED,
    SIGNIFICANT,
    StageRow,
    best_row,
    is_trained,
)
from formats.pages import environment

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATES: Final = Path(__file__).parent / "templates"
MAX_SENTENCES: Final = 300
"""Sentences shown of one example; a 64K-token answer would make the page unwieldy."""

MAX_PARTITIONS: Final = 5
"""Partitions in which a check fails that are named."""

_CONTROL_CHARACTERS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""What HTML does not allow in text; line ends and tabs are kept."""


@dataclass(frozen=True)
class ReportPlot:
    """A plot from `figures.to_svg` (trusted markup) and where it stands."""

    section: Literal["results", "funnel", "data", "training"]
    svg: str
    caption: str
    is_wide: bool = False


@dataclass(frozen=True)
class ExampleAnswer:
    """A filtered response with its sentences.

    Attributes:
        about: facts shown above it, label -> value (domain, temperature, score).
        response_text: canonical text in the student's format.
        sentences: the response's rows with the schema SENTENCE_PROVENANCE.
        picture: a plot of them from `figures.to_svg` (trusted markup).
    """

    response_id: str
    question: str
    response_text: str
    sentences: pa.Table
    about: Mapping[str, str] = field(default_factory=dict)
    picture: str = ""


@dataclass(frozen=True)
class AssetCost:
    """What the latest materializations of an asset took.

    Attributes:
        n_tokens: made or worked on; None where the asset has none.
        stage: asset group.
        gpu_hours, core_hours: time x what the asset declares.
        money: by the profile's prices; None where it has none.
    """

    asset: str
    n_partitions: int
    seconds: float
    n_tokens: int | None = None
    stage: str = ""
    gpu_hours: float = 0.0
    core_hours: float = 0.0
    money: float | None = None


@dataclass(frozen=True)
class Lineage:
    """Which materialization the report was made from."""

    asset: str
    partition: str | None
    run_id: str
    data_version: str


@dataclass(frozen=True)
class ReportData:
    """All that the page shows; an empty part leaves its section out.

    `summary` and `versions` are label -> value; `profile` is the exact profile as text; the costs
    of one stage stand together; `graded` are rows of `graded_examples`, `class_deltas` those of
    `class_deltas`. `as_of` is when the newest of the data was made; `changes` are those since the
    report of `compared_with`, which is empty if there is none.
    """

    title: str
    summary: Mapping[str, str]
    stage_rows: Sequence[StageRow]
    funnel: list[FunnelStep]
    plots: Sequence[ReportPlot]
    examples: Sequence[ExampleAnswer]
    costs: Sequence[AssetCost]
    profile: str
    versions: Mapping[str, str]
    lineage: Sequence[Lineage]
    graded: Sequence[Mapping[str, Any]] = ()
    class_deltas: Sequence[ClassDelta] = ()
    as_of: str = ""
    findings: Sequence[Finding] = ()
    quality: DataQuality = field(default_factory=DataQuality)
    compared_with: str = ""
    changes: Sequence[Change] = ()


@dataclass(frozen=True)
class Segment:
    """A piece of an answer: a sentence with its provenance, or the text between two."""

    text: str
    sentence: Mapping[str, Any] | None = None


def render_report(data: ReportData) -> str:
    """The page as HTML text: no script, no request to anywhere, the same for the same data.

    Raises:
        ValueError: the sentences of an example do not lie in its text.
    """
    return template("report.html.j2").render(
        data=data,
        OVERALL=OVERALL,
        NOTHING_FOUND=NOTHING_FOUND,
        best=(best := best_row(data.stage_rows)),
        last=next((row for row in reversed(data.stage_rows) if is_trained(row)), None),
        best_gain=best and best.total_gains[OVERALL],
        NOT_MEASURED=NOT_MEASURED,
        SIGNIFICANT=SIGNIFICANT,
        scores=(scores := [s for row in data.stage_rows for s in row.scores.values() if s]),
        delta_header=DELTA_HEADER,
        deltas=delta_rows(data.class_deltas),
        numbers_of_answers=sorted({j for score in scores for j in score.pass_at}),
        comparisons=list(_comparisons(data.stage_rows)),
        funnel=[
            (step, kept_share(step, before), largest_losses(step))
            for step, before in zip(data.funnel, previous(data.funnel), strict=True)
        ],
        examples=[(example, segments(example, MAX_SENTENCES)) for example in data.examples],
        stages=[
            (stage, list(costs)) for stage, costs in groupby(data.costs, key=attrgetter("stage"))
        ],
        total_seconds=sum(cost.seconds for cost in data.costs),
        MAX_SENTENCES=MAX_SENTENCES,
        MAX_PARTITIONS=MAX_PARTITIONS,
    )


def template(name: str) -> Template:
    """A page's template; what it is given is text, and is escaped."""
    pages = environment(TEMPLATES)
    pages.filters |= {
        "percent": _percent,
        "points": _points,
        "p_value": _p_value,
        "probability": _probability,
        "duration": _duration,
        "hours": _hours,
        "breakable": _breakable,
        "with_code": _with_code,
        "printable": printable,
    }
    return pages.get_template(name)


def segments(example: ExampleAnswer, most: int | None = None) -> list[Segment]:
    """The answer cut into sentences and what stands between them, in order and complete.

    Args:
        example: the answer with its sentences.
        most: sentences to show at most; the text after them is left out.

    Raises:
        ValueError: a sentence overlaps the one before or does not lie in the text.
    """
    encoded = example.response_text.encode()
    pieces = []
    end = 0
    sentences = example.sentences.sort_by("start_byte").to_pylist()
    for sentence in sentences[:most]:
        start, before_end = sentence["start_byte"], end
        end = sentence["end_byte"]
        if not before_end <= start <= end <= len(encoded):
            raise ValueError(
                f"response {example.response_id}: sentence {sentence['sentence_index']} has bytes "
                f"{start} to {end}, expected between {before_end} and {len(encoded)}"
            )
        pieces += [
            Segment(printable(encoded[before_end:start].decode())),
            Segment(printable(encoded[start:end].decode()), sentence),
        ]
    if most is None or len(sentences) <= most:
        pieces.append(Segment(printable(encoded[end:].decode())))
    return [piece for piece in pieces if piece.text]


def printable(text: str) -> str:
    """The text with control characters replaced, as pages and terminals need it."""
    return _CONTROL_CHARACTERS.sub("\N{REPLACEMENT CHARACTER}", text)


def _comparisons(rows: Sequence[StageRow]) -> Iterator[PairedDifference]:
    """Every checkpoint over every one before it, the nearest first."""
    return (
        gain
        for row in rows
        for before in reversed(list(row.differences.values()))
        for gain in before.values()
        if gain is not None
    )


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f}"


def _points(difference: float) -> str:
    """Percentage points with their sign, with a true minus."""
    return f"{100 * difference:+.1f}".replace("-", "−")


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _probability(p: float | None) -> str:
    return NOT_MEASURED if p is None else f"{p:.3f}"


def _breakable(text: str) -> Markup:
    """Escaped text whose lines may break after slashes and underscores (paths, names)."""
    return Markup(re.sub(r"([/_])", r"\1<wbr>", str(escape(text))))


def _with_code(text: str) -> Markup:
    """Escaped text with what stands between backticks (settings, commands) as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _duration(seconds: float) -> str:
    """Seconds below two minutes, then minutes, then hours, as a person would say it."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3_600:.1f} h"


def _hours(hours: float) -> str:
    """Hours with as many digits as tell two short steps apart."""
    if 0 < hours < 0.0001:
        return "< 0.0001"
    return f"{hours:,.1f}" if hours >= 100 else f"{hours:.3g}"
