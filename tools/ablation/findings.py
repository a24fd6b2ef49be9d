"""What may be said of a comparison: rules that know the numbers and nothing of the paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tools.ablation.results import Compared
from tools.ablation.statistics import Effect

VERDICTS = {
    1: "shown",
    0: "not shown: the interval includes 0",
    -1: "not shown: the reverse is, the interval lies below 0",
}
"""What the sign of an interval says of a claim that the difference is positive."""


def points(value: float) -> str:
    """A difference of accuracies in percentage points."""
    return f"{100 * value:+.1f}"


def interval(found: Effect) -> str:
    """The interval of a difference in percentage points."""
    return f"{points(found.low)} to {points(found.high)}"


def p_text(p_value: float) -> str:
    """A p-value as it is printed."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def finding(compared: Compared) -> str:
    """One sentence: the claim, whether it shows, and by which numbers."""
    found = compared.effect
    same_sign = sum(np.sign(value) == np.sign(found.value) for value in found.by_seed)
    return (
        f"{compared.comparison.claim}: {VERDICTS[found.verdict]} ({points(found.value)} points, "
        f"{interval(found)}, p {_equals(found.p_value)}; the same sign with {same_sign} of "
        f"{len(found.by_seed)} seeds)"
    )


def summary(comparisons: Sequence[Compared]) -> str:
    """How many claims show, and how large a difference had to be to be seen at all."""
    verdicts = [each.effect.verdict for each in comparisons]
    halves = [(each.effect.high - each.effect.low) / 2 for each in comparisons]
    return (
        f"Claims that show: {verdicts.count(1)} of {len(verdicts)}. Claims that do not: "
        f"{verdicts.count(0)} whose interval includes 0, {verdicts.count(-1)} of which the reverse "
        f"shows. A difference had to be {100 * min(halves):.1f} to {100 * max(halves):.1f} points, "
        "depending on the comparison, to be told from 0."
    )


def _equals(p_value: float) -> str:
    text = p_text(p_value)
    return text if text.startswith("<") else f"= {text}"
