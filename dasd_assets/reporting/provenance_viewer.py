"""The provenance viewer: answers coloured by sentence class, as a page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from dasd_assets.reporting.report import ExampleAnswer, segments, template


def render_viewer(title: str, examples: Sequence[ExampleAnswer]) -> str:
    """Answers in full, sentence by sentence, as HTML text.

    Every sentence is marked by colour and by the kind of its underline, and says its class, p_T and
    p_S when it is pointed at; the same stands in a table below the answer. The page has no script
    and asks for nothing, and the texts of models and users are escaped.

    Raises:
        ValueError: the sentences of an answer do not lie in its text.
    """
    return (
        template("viewer.html.j2")
        .render(title=title, examples=[(example, segments(example)) for example in examples])
        .lstrip()
    )
