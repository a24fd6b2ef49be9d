"""Sentence classes in right and wrong answers of every checkpoint (paper Fig. 6, its area Δ)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from dasd_assets.reporting import picture_data
from dasd_assets.reporting.picture_data import OF_CHECKPOINTS
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

    As in the picture: the mean over the positions in the answer. None where there are none.
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
    """Every class of every checkpoint whose answers were looked at.

    Args:
        warehouse: from `open_warehouse`.
    """
    found = []
    for checkpoint in CHECKPOINTS:
        where = {"checkpoint": checkpoint}
        if not picture_data.judged_answers(warehouse, where, OF_CHECKPOINTS):
            continue
        right, wrong = (
            picture_data.class_shares(warehouse, where, is_correct=is_correct, of=OF_CHECKPOINTS)
            for is_correct in (True, False)
        )
        found += [
            ClassDelta(checkpoint, name, _mean(right[name]), _mean(wrong[name]))
            for name in OF_CHECKPOINTS.classes
        ]
    return found


def _mean(shares: picture_data.Numbers) -> float | None:
    known = shares[np.isfinite(shares)]
    return float(known.mean()) if len(known) else None


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
