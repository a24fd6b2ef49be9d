"""The course of a training's loss in three numbers, of which chance is told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

PARTS: Final = 5
"""A log is looked at in fifths: the loss of one batch says more of the batch than of the model."""


@dataclass(frozen=True)
class LossCourse:
    """Means of the first fifth of the log, of the last but one, and of the last.

    Attributes:
        error: standard error of the difference between two of the means, from how far each loss
            lies from the next.
    """

    first: float
    before_last: float
    last: float
    error: float

    def rise(self, since: float) -> float:
        """How far the last mean lies above an earlier one, in standard errors."""
        difference = self.last - since
        if self.error:
            return difference / self.error
        return math.copysign(math.inf, difference) if difference else 0.0


def loss_course(losses: Sequence[float]) -> LossCourse | None:
    """The course of the losses of a log, in its order; None of fewer than two, or if one is NaN."""
    if len(losses) < 2 or not all(map(math.isfinite, losses)):
        return None
    size = max(len(losses) // PARTS, 1)
    parts = (losses[:size], losses[-2 * size : -size], losses[-size:])
    first, before_last, last = (sum(part) / size for part in parts)
    # What follows each other differs by chance, and hardly by the course.
    squares = [(then - now) ** 2 for now, then in pairwise(losses)]
    error = math.sqrt(sum(squares) / len(squares) / size)
    return LossCourse(first, before_last, last, error)
