"""Figures that read on a light and on a dark page, and what they are turned into.

Each is a matplotlib figure; `to_svg` makes it markup for an HTML page, `to_png` a file. Backgrounds
are transparent and colours are told apart by the colour-blind (after Okabe and Ito). matplotlib is
imported when the first figure is made.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any, Final

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
    "common": "#8a8f98",
    "shared": "#8a8f98",
    "boosted": "#d55e00",
    "selected": "#009e73",
    "random control": "#d55e00",
    "longest control": "#2b8cc4",
    "all": "#8a8f98",
}
"""Colour of each temperature, checkpoint, sentence class and set of candidates, in every plot."""

OTHER_COLOURS: Final = ("#2b8cc4", "#d55e00", "#009e73", "#b45fa0", "#b37d00")
SENTENCE_CLASSES: Final = ("teacher", "common", "student")
"""Before training."""
ANSWER_CLASSES: Final = ("teacher", "shared", "boosted", "student")
"""Of a distilled model's own answers."""
PNG_DOTS_PER_INCH: Final = 144
PIXELS_IN_THE_UI: Final = 520
"""What a partition's values have in a window of 1,600: the UI cuts a picture, and shrinks none."""

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


def to_png(figure: Figure, widest: float = math.inf) -> bytes:
    """The figure as a PNG with a transparent background.

    Args:
        widest: pixels that it may be wide.
    """
    import matplotlib as mpl

    written = io.BytesIO()
    dots = min(PNG_DOTS_PER_INCH, widest / figure.get_figwidth())
    with mpl.rc_context(_STYLE):
        figure.savefig(written, format="png", dpi=dots, metadata={"Software": None})
    return written.getvalue()


@contextmanager
def styled_axes(
    title: str, width: float = 4.8, height: float = 2.9
) -> Iterator[tuple[Figure, Axes]]:
    """A figure (inches) with one axes in the report's style; the title is its text alternative."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained", label=title)
        yield figure, figure.subplots()
        # The layout is settled once: laid out anew at every drawing it would drift.
        layout = figure.get_layout_engine()
        assert layout is not None
        layout.execute(figure)
        figure.set_layout_engine("none")


def colour_of(name: str, index: int) -> str:
    """Colour of a name; one without has the index-th of the others."""
    return COLOURS.get(name, OTHER_COLOURS[index % len(OTHER_COLOURS)])


def words(name: str) -> str:
    """A name as it is said."""
    return name.replace("_", " ")


def add_legend(axes: Axes, columns: int = 3) -> None:
    """A legend above the plot, where it hides no data."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, borderaxespad=0.2)
