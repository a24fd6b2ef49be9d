"""What chance can do to a mean over seeds and questions, and to the difference of two.

Every arm answers the same questions with every seed, so two things are drawn by chance and crossed:
seeds (selection, training, rollouts, the draws of the evaluation) and questions. An arm's mean has
a standard error over seeds and one over questions; the squares of both are added, which counts what
is left beside the two twice and so errs on the wide side. The test of a difference is then Clark's
min F' (1973, "The language-as-fixed-effect fallacy"), with Satterthwaite's degrees of freedom, and
the interval is the one that belongs to that test. Differences are paired: the same seed, question
and request seeds on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Effect:
    """A mean, or a paired difference, with its interval; fractions (0.01 is a point).

    Attributes:
        p_value: two-sided, that the true value is 0, for other seeds and other questions.
        p_seeds: the same for other seeds and these questions (t test over seeds).
        p_questions: the same for these seeds and other questions (t test over questions).
        by_seed: the value with each seed, shape (seeds,).
    """

    value: float
    low: float
    high: float
    p_value: float
    p_seeds: float
    p_questions: float
    by_seed: tuple[float, ...]

    @property
    def verdict(self) -> int:
        """1 if the interval lies above 0, -1 if below, 0 if it includes 0."""
        return int(self.low > 0) - int(self.high < 0)


def effect(values: Mapping[str, Floats], confidence: float = 0.95) -> Effect:
    """Mean over seeds and questions; every evaluation set weighs the same.

    Args:
        values: evaluation set -> accuracies, or differences of them, shape (seeds, questions).

    Raises:
        ValueError: fewer than two seeds, or a set with fewer than two questions.
    """
    shapes = {name: accuracies.shape for name, accuracies in values.items()}
    n_seeds = {shape[0] for shape in shapes.values()}
    if len(n_seeds) != 1 or min(n_seeds) < 2 or min(shape[1] for shape in shapes.values()) < 2:
        raise ValueError(f"needs as many seeds, and at least two questions and seeds: {shapes}")
    by_seed = np.mean([accuracies.mean(axis=1) for accuracies in values.values()], axis=0)
    value = float(by_seed.mean())
    of_seeds = float(by_seed.var(ddof=1)) / len(by_seed)
    of_questions = (
        sum(
            float(accuracies.mean(axis=0).var(ddof=1)) / accuracies.shape[1]
            for accuracies in values.values()
        )
        / len(values) ** 2
    )
    df_seeds = len(by_seed) - 1
    df_questions = sum(shape[1] - 1 for shape in shapes.values())
    variance = of_seeds + of_questions
    df = (
        variance**2 / (of_seeds**2 / df_seeds + of_questions**2 / df_questions)
        if variance
        else float(df_seeds)
    )
    half = _critical(confidence, df) * math.sqrt(variance)
    return Effect(
        value=value,
        low=value - half,
        high=value + half,
        p_value=_two_sided(value, variance, df),
        p_seeds=_two_sided(value, of_seeds, df_seeds),
        p_questions=_two_sided(value, of_questions, df_questions),
        by_seed=tuple(by_seed.tolist()),
    )


def difference(
    better: Mapping[str, Floats], worse: Mapping[str, Floats], confidence: float = 0.95
) -> Effect:
    """How much more often `better` is right, paired by seed and question."""
    return effect({name: better[name] - worse[name] for name in better}, confidence)


def _critical(confidence: float, df: float) -> float:
    from scipy.stats import t

    return float(t.ppf(0.5 + confidence / 2, df))


def _two_sided(value: float, variance: float, df: float) -> float:
    from scipy.stats import t

    if not variance:
        return 1.0 if value == 0 else 0.0
    return float(2 * t.sf(abs(value) / math.sqrt(variance), df))
