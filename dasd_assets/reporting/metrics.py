"""avg@k, pass@k and the gain of one checkpoint over another (paper section 7.3).

The unit of chance is the question: answers to one question depend on each other, so intervals and
tests resample questions (with all their answers), never single answers.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

OVERALL: Final = "overall"
"""Benchmark name of the macro mean: every evaluation set weighs the same."""

NO_FINAL_ANSWER: Final = "no_final_answer"
"""Verdict on an answer that has no final part."""

COUNTED: Final = (
    "checkpoint", "benchmark", "question_id", "finish_reason", "n_tokens", "is_correct", "verdict",
)  # fmt: skip
"""Columns of EVALUATION that the scores are made from."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Bootstrap:
    """How chance is measured: percentile bootstrap and sign flips, both seeded."""

    confidence: float = 0.95
    resamples: int = 2_000
    seed: int = 0

    def generator(self, *names: str) -> np.random.Generator:
        """Random numbers of one quantity, the same whatever else is computed in the run."""
        return np.random.default_rng([self.seed, zlib.crc32("/".join(names).encode())])


@dataclass(frozen=True)
class Estimate:
    """A value and its bootstrap interval, as fractions (0.5 is 50 %).

    When all questions have the same value the interval has no width: resampling cannot show
    what the questions at hand do not.
    """

    value: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class QuestionCounts:
    """Counts per question of one checkpoint and evaluation set, ordered by question id."""

    question_ids: NDArray[np.str_]
    n_samples: Integers
    n_correct: Integers
    n_truncated: Integers
    n_tokens: Integers
    n_unanswered: Integers | None = None
    """Answers without a final part; None if the rows have no verdict."""

    @property
    def accuracies(self) -> Floats:
        """Share of correct answers per question."""
        return self.n_correct / self.n_samples


Counts = Mapping[tuple[str, str], QuestionCounts]
"""(checkpoint, benchmark) -> counts per question."""


@dataclass(frozen=True)
class Score:
    """Results of one checkpoint on one evaluation set, or on all of them (`OVERALL`).

    Shares are fractions; `k` is the number of answers per question (the smallest, should they
    differ). Overall values are means over the evaluation sets.

    Attributes:
        pass_at: pass@j for j = 1, 2, 4, … and k; those that all evaluation sets have, overall.
        truncated_share: answers that hit the cap on tokens.
        no_answer_share: answers without a final part, whether cut off or not; None if the rows
            have no verdict.
    """

    checkpoint: str
    benchmark: str
    n_questions: int
    n_answers: int
    k: int
    avg_at_k: Estimate
    pass_at_k: float
    truncated_share: float
    mean_tokens: float
    pass_at: Mapping[int, float] = field(default_factory=dict)
    no_answer_share: float | None = None


@dataclass(frozen=True)
class PairedDifference:
    """How much better `after` is than `before` on the questions that both answered.

    `p_value` is two-sided: how often a difference this large comes up when the sign of every
    question's difference is a coin flip. `n_unpaired` questions were answered by one side only.
    """

    before: str
    after: str
    benchmark: str
    n_questions: int
    n_unpaired: int
    difference: Estimate
    p_value: float


def avg_at_k(evaluation: pa.Table, bootstrap: Bootstrap | None = None) -> Estimate:
    """Mean over questions of the share of correct answers, for one checkpoint and benchmark.

    Args:
        evaluation: rows with the schema EVALUATION, all of one checkpoint and benchmark.

    Raises:
        ValueError: no rows, or rows of several checkpoints or benchmarks.
    """
    scores = benchmark_scores(question_counts(evaluation), bootstrap)
    if len(scores) != 1:
        raise ValueError(
            f"avg@k needs the answers of one checkpoint to one benchmark, found {sorted(scores)}"
        )
    return next(iter(scores.values())).avg_at_k


def pass_at_k(n_samples: Integers, n_correct: Integers, k: int) -> float:
    """Mean over questions of the chance that at least one of k answers is correct.

    Unbiased for k below the number of samples: 1 - C(n - c, k) / C(n, k) per question.

    Args:
        n_samples: answers per question, int64 of shape (questions,).
        n_correct: correct ones among them, same shape.

    Raises:
        ValueError: k is below 1 or above a question's number of answers.
    """
    if not 1 <= k <= n_samples.min():
        raise ValueError(f"pass@k: k must be 1 to {n_samples.min()}, found {k}")
    steps = np.arange(k)
    wrong_left = np.clip((n_samples - n_correct)[:, None] - steps, 0, None)
    return float(1 - (wrong_left / (n_samples[:, None] - steps)).prod(axis=1).mean())


def numbers_of_answers(k: int) -> list[int]:
    """The j for which pass@j is reported of k answers: 1, 2, 4, … and k itself."""
    return sorted({*(2**power for power in range(k.bit_length())), k})


def question_counts(evaluation: pa.Table) -> dict[tuple[str, str], QuestionCounts]:
    """Counts per question by (checkpoint, benchmark), sorted; only what has rows.

    Args:
        evaluation: rows with the columns `COUNTED`; without `verdict` nothing is said about
            answers that have no final part.
    """
    keys = ["checkpoint", "benchmark", "question_id"]
    rows = evaluation.select([*keys, "is_correct", "n_tokens"]).append_column(
        "is_truncated", pc.equal(evaluation["finish_reason"], "length")
    )
    has_verdict = "verdict" in evaluation.column_names
    sums = [("is_correct", "count"), ("is_correct", "sum"), ("is_truncated", "sum")]
    if has_verdict:
        is_unanswered = pc.equal(evaluation["verdict"], NO_FINAL_ANSWER)
        rows = rows.append_column("is_unanswered", is_unanswered)
        sums.append(("is_unanswered", "sum"))
    questions = rows.group_by(keys).aggregate([*sums, ("n_tokens", "sum")])
    questions = questions.sort_by([(key, "ascending") for key in keys])
    pairs = questions.group_by(keys[:2], use_threads=False).aggregate([]).to_pylist()
    columns = ["is_correct_count", "is_correct_sum", "is_truncated_sum", "n_tokens_sum"]
    columns += ["is_unanswered_sum"] * has_verdict
    counts = {}
    for pair in pairs:
        checkpoint, benchmark = pair["checkpoint"], pair["benchmark"]
        group = questions.filter(
            (pc.field("checkpoint") == checkpoint) & (pc.field("benchmark") == benchmark)
        )
        counts[checkpoint, benchmark] = QuestionCounts(
            np.array(group["question_id"].to_pylist(), dtype=np.str_),
            *(group[column].to_numpy().astype(np.int64) for column in columns),
        )
    return counts


def benchmark_scores(
    counts: Counts, bootstrap: Bootstrap | None = None
) -> dict[tuple[str, str], Score]:
    """Scores by (checkpoint, benchmark).

    Args:
        counts: from `question_counts`.
    """
    bootstrap = bootstrap or Bootstrap()
    scores = {}
    for (checkpoint, benchmark), questions in counts.items():
        means = _resampled_means(questions.accuracies, bootstrap, checkpoint, benchmark)
        n_answers = int(questions.n_samples.sum())
        k = int(questions.n_samples.min())
        n_unanswered = questions.n_unanswered
        scores[checkpoint, benchmark] = Score(
            checkpoint=checkpoint,
            benchmark=benchmark,
            n_questions=len(questions.question_ids),
            n_answers=n_answers,
            k=k,
            avg_at_k=_estimate(float(questions.accuracies.mean()), means, bootstrap),
            pass_at_k=pass_at_k(questions.n_samples, questions.n_correct, k),
            truncated_share=float(questions.n_truncated.sum() / n_answers),
            mean_tokens=float(questions.n_tokens.sum() / n_answers),
            pass_at={
                j: pass_at_k(questions.n_samples, questions.n_correct, j)
                for j in numbers_of_answers(k)
            },
            no_answer_share=(
                None if n_unanswered is None else float(n_unanswered.sum() / n_answers)
            ),
        )
    return scores


def overall_score(
    counts: Counts,
    checkpoint: str,
    benchmarks: Sequence[str],
    bootstrap: Bootstrap | None = None,
) -> Score | None:
    """Macro mean of a checkpoint over benchmarks; None unless it has answers in each of them.

    The interval resamples the questions within each benchmark: the benchmarks themselves are
    given, not drawn.

    Args:
        counts: from `question_counts`.
    """
    bootstrap = bootstrap or Bootstrap()
    if not benchmarks or any((checkpoint, name) not in counts for name in benchmarks):
        return None
    members = {(checkpoint, name): counts[checkpoint, name] for name in benchmarks}
    parts = list(benchmark_scores(members, bootstrap).values())
    means = [_resampled_means(part.accuracies, bootstrap, *key) for key, part in members.items()]
    value = _mean(part.avg_at_k.value for part in parts)
    k = min(part.k for part in parts)
    unanswered = [part.no_answer_share for part in parts if part.no_answer_share is not None]
    return Score(
        checkpoint=checkpoint,
        benchmark=OVERALL,
        n_questions=sum(part.n_questions for part in parts),
        n_answers=sum(part.n_answers for part in parts),
        k=k,
        avg_at_k=_estimate(value, np.mean(means, axis=0), bootstrap),
        pass_at_k=_mean(part.pass_at_k for part in parts),
        truncated_share=_mean(part.truncated_share for part in parts),
        mean_tokens=_mean(part.mean_tokens for part in parts),
        pass_at={
            j: _mean(part.pass_at[j] for part in parts)
            for j in numbers_of_answers(k)
            if all(j in part.pass_at for part in parts)
        },
        no_answer_share=_mean(unanswered) if len(unanswered) == len(parts) else None,
    )


def paired_difference(
    counts: Counts,
    before: str,
    after: str,
    benchmarks: Sequence[str],
    bootstrap: Bootstrap | None = None,
) -> PairedDifference | None:
    """Gain in avg@k from one checkpoint to another, question by question.

    With several benchmarks the macro mean of their gains. None when the two checkpoints have no
    question in common in one of the benchmarks.

    Args:
        counts: from `question_counts`.
        before, after: checkpoints; the difference is `after` minus `before`.
        benchmarks: names of evaluation sets.
    """
    bootstrap = bootstrap or Bootstrap()
    differences: dict[str, Floats] = {}
    n_unpaired = 0
    for benchmark in benchmarks:
        first, second = counts.get((before, benchmark)), counts.get((after, benchmark))
        if first is None or second is None:
            return None
        common, of_first, of_second = np.intersect1d(
            first.question_ids, second.question_ids, assume_unique=True, return_indices=True
        )
        if not len(common):
            return None
        n_unpaired += len(first.question_ids) + len(second.question_ids) - 2 * len(common)
        differences[benchmark] = second.accuracies[of_second] - first.accuracies[of_first]
    if not differences:
        return None
    value = _mean(difference.mean() for difference in differences.values())
    means, null = (
        np.mean(
            [draw(gains, bootstrap, before, after, name) for name, gains in differences.items()],
            axis=0,
        )
        for draw in (_resampled_means, _sign_flipped_means)
    )
    # The tolerance keeps a tie a tie when the same sum is added up in another order.
    n_as_large = int((np.abs(null) >= abs(value) - 1e-12).sum())
    return PairedDifference(
        before=before,
        after=after,
        benchmark=benchmarks[0] if len(benchmarks) == 1 else OVERALL,
        n_questions=sum(len(difference) for difference in differences.values()),
        n_unpaired=n_unpaired,
        difference=_estimate(value, means, bootstrap),
        p_value=(1 + n_as_large) / (1 + bootstrap.resamples),
    )


def _resampled_means(values: Floats, bootstrap: Bootstrap, *names: str) -> Floats:
    """Means of bootstrap samples of the values, shape (resamples,).

    Drawing n questions with replacement is a multinomial draw over the distinct values, of which
    there are few (k + 1 accuracies): memory does not grow with the number of questions.
    """
    distinct, counts = np.unique(values, return_counts=True)
    generator = bootstrap.generator("bootstrap", *names)
    drawn = generator.multinomial(len(values), counts / len(values), size=bootstrap.resamples)
    return drawn @ distinct / len(values)


def _sign_flipped_means(values: Floats, bootstrap: Bootstrap, *names: str) -> Floats:
    """Means of the values under random signs, shape (resamples,), per distinct magnitude."""
    magnitudes, counts = np.unique(np.abs(values), return_counts=True)
    generator = bootstrap.generator("sign flips", *names)
    positive = generator.binomial(counts, 0.5, size=(bootstrap.resamples, len(counts)))
    return (2 * positive - counts) @ magnitudes / len(values)


def _estimate(value: float, means: Floats, bootstrap: Bootstrap) -> Estimate:
    outside = (1 - bootstrap.confidence) / 2
    low, high = np.quantile(means, [outside, 1 - outside])
    return Estimate(value, float(low), float(high), bootstrap.confidence)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
