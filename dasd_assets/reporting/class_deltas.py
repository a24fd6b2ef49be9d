"""Sentence classes in right and wrong answers of every checkpoint (paper Fig. 6, its area Δ)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dasd_assets.reporting.figures import ANSWER_CLASSES
from dasd_assets.reporting.stage_table import NOT_MEASURED
from resources.lake.tables.evaluation import CHECKPOINTS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DELTA_HEADER: Final = (
    "checkpoint",
    "class",
    "right answers (%)",
    "wrong answers (%)",
    "Δ (points)",
)


@dataclass(frozen=True)
class ClassDelta:
    """Share of one class of sentences in the right and in the wrong answers of a checkpoint.

    A share is None where there is no such answer.
    """

    checkpoint: str
    sentence_class: str
    right: float | None
    wrong: float | None

    @property
    def delta(self) -> float | None:
        """Right less wrong."""
        return None if self.right is None or self.wrong is None else self.right - self.wrong


def class_deltas(warehouse: DuckDBPyConnection) -> list[ClassDelta]:
    """Every class of every checkpoint whose answers were looked at, of their scored sentences.

    Args:
        warehouse: from `open_warehouse`.
    """
    rows = warehouse.sql(
        """
        SELECT checkpoint, sentence_class, is_correct, count(*) AS n
        FROM evaluation_provenance JOIN evaluation USING (checkpoint, benchmark, answer_id)
        WHERE sentence_class <> 'unscored' GROUP BY ALL
        """
    ).fetchall()
    counts = {tuple(names): n for *names, n in rows}

    def share(checkpoint: str, name: str, is_correct: bool) -> float | None:
        total = sum(counts.get((checkpoint, each, is_correct), 0) for each in ANSWER_CLASSES)
        return counts.get((checkpoint, name, is_correct), 0) / total if total else None

    found = {checkpoint for checkpoint, *_ in counts}
    return [
        ClassDelta(checkpoint, name, *(share(checkpoint, name, is_it) for is_it in (True, False)))
        for checkpoint in CHECKPOINTS
        if checkpoint in found
        for name in ANSWER_CLASSES
    ]


def delta_rows(deltas: Sequence[ClassDelta]) -> list[list[str]]:
    """The cells of a table, one row per class, under DELTA_HEADER."""
    return [
        [
            one.checkpoint,
            one.sentence_class,
            *(
                NOT_MEASURED if value is None else f"{100 * value:{sign}.1f}"
                for value, sign in ((one.right, ""), (one.wrong, ""), (one.delta, "+"))
            ),
        ]
        for one in deltas
    ]
