"""What the finished steps say, arm by arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from dasd_assets.reporting.metrics import question_counts
from tools.ablation.arms import BASE, Arm, Comparison
from tools.ablation.samples import read_facts
from tools.ablation.statistics import Effect, Floats, difference, effect
from tools.ablation.steps import Step, evaluation_place, record

if TYPE_CHECKING:
    from resources.lake.lake import Lake

COLUMNS = ["checkpoint", "benchmark", "question_id", "finish_reason", "n_tokens", "is_correct"]


@dataclass(frozen=True)
class ArmResult:
    """One arm over all seeds.

    Attributes:
        accuracies: evaluation set -> shape (seeds, questions), questions in the order of their ids.
        by_benchmark: mean accuracy per evaluation set.
        mean_tokens: of an answer.
        truncated_share: answers that hit the limit.
        training: means over the seeds of what is known of the sample and of the training.
    """

    name: str
    label: str
    accuracies: dict[str, Floats]
    mean: Effect
    by_benchmark: dict[str, Effect]
    mean_tokens: float
    truncated_share: float
    training: dict[str, float]


@dataclass(frozen=True)
class Compared:
    """A comparison and what came out."""

    comparison: Comparison
    effect: Effect


def arm_results(
    store: Lake,
    steps: Sequence[Step],
    arms: Sequence[Arm],
    benchmarks: Sequence[str],
    temperature: float,
    confidence: float,
) -> dict[str, ArmResult]:
    """Results of the base student and of every arm, by name.

    Args:
        steps: of all seeds, all of them finished.
        temperature: of the answers.
    """
    labels = {BASE: "base student"} | {arm.name: arm.label for arm in arms}
    results = {}
    for name, label in labels.items():
        of_arm = [step for step in steps if step.name == name]
        answers = [
            pa.concat_tables(
                store.read("evaluation", evaluation_place(step, benchmark, temperature), COLUMNS)
                for benchmark in benchmarks
            )
            for step in of_arm
        ]
        accuracies = _accuracies(answers, name, benchmarks)
        every = pa.concat_tables(answers)
        results[name] = ArmResult(
            name=name,
            label=label,
            accuracies=accuracies,
            mean=effect(accuracies, confidence),
            by_benchmark={
                benchmark: effect({benchmark: values}, confidence)
                for benchmark, values in accuracies.items()
            },
            mean_tokens=float(np.mean(every["n_tokens"].to_numpy())),
            truncated_share=every["finish_reason"].to_pylist().count("length") / every.num_rows,
            training=_training(store, of_arm),
        )
    return results


def compared(
    results: Mapping[str, ArmResult], comparisons: Sequence[Comparison], confidence: float
) -> list[Compared]:
    """The comparisons of which both arms are there."""
    return [
        Compared(
            comparison,
            difference(
                results[comparison.better].accuracies,
                results[comparison.worse].accuracies,
                confidence,
            ),
        )
        for comparison in comparisons
        if comparison.better in results and comparison.worse in results
    ]


def _accuracies(
    answers: Sequence[pa.Table], name: str, benchmarks: Sequence[str]
) -> dict[str, Floats]:
    counts = [question_counts(table) for table in answers]
    return {
        benchmark: np.stack([seed[name, benchmark].accuracies for seed in counts])
        for benchmark in benchmarks
    }


def _training(store: Lake, of_arm: Sequence[Step]) -> dict[str, float]:
    """Means over the seeds; what is not known of every seed is left out."""
    facts = [
        {
            **read_facts(store, step.seed, step.arm.sample),
            **{name: (record(store, step) or {})[name] for name in ("steps", "final_loss")},
        }
        for step in of_arm
        if step.arm is not None
    ]
    names = facts[0] if facts else {}
    return {
        name: float(np.mean([each[name] for each in facts]))
        for name in names
        if all(name in each for each in facts)
    }
