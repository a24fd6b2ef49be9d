"""avg@k, pass@k, intervals and paired differences."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pyarrow as pa
import pytest

from dasd_assets.reporting.metrics import (
    OVERALL,
    Bootstrap,
    PairedDifference,
    avg_at_k,
    benchmark_scores,
    numbers_of_answers,
    overall_score,
    paired_difference,
    pass_at_k,
    question_counts,
)

COLUMNS = pa.schema(
    [
        ("checkpoint", pa.string()),
        ("benchmark", pa.string()),
        ("question_id", pa.string()),
        ("finish_reason", pa.string()),
        ("n_tokens", pa.int32()),
        ("is_correct", pa.bool_()),
    ]
)


def answers(checkpoint: str, benchmark: str, verdicts: dict[str, list[bool]]) -> pa.Table:
    """Answers of 10 tokens when right and of 30, cut off, when wrong."""
    rows = [
        (checkpoint, benchmark, question, "stop" if ok else "length", 10 if ok else 30, ok)
        for question, oks in verdicts.items()
        for ok in oks
    ]
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=COLUMNS)


def accuracies(checkpoint: str, benchmark: str, correct: np.ndarray, k: int) -> pa.Table:
    verdicts = {f"q{i:04}": [j < c for j in range(k)] for i, c in enumerate(correct)}
    return answers(checkpoint, benchmark, verdicts)


def test_scores_by_hand() -> None:
    # Questions with 2/2, 1/4 and 0/2: the mean over questions, not over the 8 answers.
    table = answers(
        "base", "math", {"a": [True, True], "b": [True, False, False, False], "c": [False, False]}
    )
    score = benchmark_scores(question_counts(table))["base", "math"]
    assert score.avg_at_k.value == pytest.approx((1 + 0.25 + 0) / 3)
    assert score.avg_at_k == avg_at_k(table)
    assert (score.n_questions, score.n_answers, score.k) == (3, 8, 2)
    assert score.truncated_share == pytest.approx(5 / 8)
    assert score.mean_tokens == pytest.approx((3 * 10 + 5 * 30) / 8)
    # pass@2: 1, 1 - C(3,2)/C(4,2) = 1/2, 0.
    assert score.pass_at_k == pytest.approx(0.5)


@pytest.mark.parametrize(("k", "expected"), [(1, 0.5 / 2), (2, 5 / 6 / 2), (4, 0.5)])
def test_pass_at_k_is_unbiased(k: int, expected: float) -> None:
    # Four answers each, two and none of them correct: 1 - C(2,k)/C(4,k).
    assert pass_at_k(np.array([4, 4]), np.array([2, 0]), k) == pytest.approx(expected)


@pytest.mark.parametrize("k", [0, 5])
def test_pass_at_k_refuses_an_impossible_k(k: int) -> None:
    with pytest.raises(ValueError, match="k must be 1 to 4"):
        pass_at_k(np.array([4]), np.array([2]), k)


def test_avg_at_k_is_of_one_checkpoint_and_benchmark() -> None:
    math = answers("base", "math", {"a": [True]})
    with pytest.raises(ValueError, match=r"found .*code.*math"):
        avg_at_k(pa.concat_tables([math, answers("base", "code", {"a": [True]})]))
    with pytest.raises(ValueError, match=r"found \[\]"):
        avg_at_k(math.slice(0, 0))


def test_overall_is_the_macro_mean_and_needs_every_benchmark() -> None:
    table = pa.concat_tables(
        [
            answers("base", "math", {"a": [True], "b": [True], "c": [True], "d": [True]}),
            answers("base", "code", {"a": [False], "b": [True]}),
            answers("dasd", "math", {"a": [True]}),
        ]
    )
    counts = question_counts(table)
    overall = overall_score(counts, "base", ["math", "code"])
    assert overall is not None
    assert overall.benchmark == OVERALL
    assert overall.avg_at_k.value == pytest.approx((1 + 0.5) / 2)
    assert overall.mean_tokens == pytest.approx((10 + 20) / 2)
    # math never varies, so code alone makes the interval: half of [0, 1], moved up by a half.
    assert (overall.avg_at_k.low, overall.avg_at_k.high) == (0.5, 1.0)
    assert overall_score(counts, "dasd", ["math", "code"]) is None
    assert overall_score(counts, "base", []) is None


def test_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(7)
    n_covered = 0
    n_trials = 200
    for trial in range(n_trials):
        chances = generator.beta(2, 3, size=60)  # mean 0.4
        table = accuracies("base", "math", generator.binomial(4, chances), 4)
        estimate = avg_at_k(table, Bootstrap(confidence=0.9, resamples=400, seed=trial))
        n_covered += estimate.low <= 0.4 <= estimate.high
    # Binomial(200, 0.9) lies in 165..193 but for one case in a thousand.
    assert 165 <= n_covered <= 193


def test_interval_is_as_wide_as_the_normal_one_for_many_questions() -> None:
    correct = np.random.default_rng(3).binomial(8, 0.3, size=500)
    estimate = avg_at_k(accuracies("base", "math", correct, 8), Bootstrap(resamples=4_000))
    expected = 2 * 1.96 * (correct / 8).std() / np.sqrt(500)
    assert estimate.high - estimate.low == pytest.approx(expected, rel=0.1)
    assert estimate.low < estimate.value < estimate.high


def test_the_same_seed_gives_the_same_interval_whatever_else_is_there() -> None:
    correct = np.random.default_rng(1).binomial(4, 0.5, size=1_000)
    math = accuracies("base", "math", correct, 4)
    both = pa.concat_tables([accuracies("base", "code", correct, 4), math])
    alone = avg_at_k(math)
    assert benchmark_scores(question_counts(both))["base", "math"].avg_at_k == alone
    assert avg_at_k(math, Bootstrap(seed=1)) != alone


def test_order_of_rows_does_not_matter() -> None:
    correct = np.random.default_rng(2).binomial(4, 0.5, size=20)
    table = accuracies("base", "math", correct, 4)
    shuffled = table.take(np.random.default_rng(0).permutation(table.num_rows))
    assert avg_at_k(shuffled) == avg_at_k(table)


def test_paired_difference_by_hand() -> None:
    table = pa.concat_tables(
        [
            answers("base", "math", {"a": [False, False], "b": [True, False], "only_base": [True]}),
            answers("dasd", "math", {"b": [True, True], "a": [True, False], "c": [True]}),
        ]
    )
    gain = paired_difference(question_counts(table), "base", "dasd", ["math"])
    assert gain is not None
    assert gain.difference.value == pytest.approx(0.5)
    assert (gain.n_questions, gain.n_unpaired) == (2, 2)
    # Both questions gain 0.5: of the four sign patterns two are as large.
    assert gain.p_value == pytest.approx(0.5, abs=0.05)
    loss = paired_difference(question_counts(table), "dasd", "base", ["math"])
    assert loss is not None
    assert loss.difference.value == pytest.approx(-0.5)


def test_paired_difference_over_benchmarks_is_a_macro_mean() -> None:
    table = pa.concat_tables(
        [
            answers("base", "math", {"a": [False], "b": [False], "c": [False], "d": [False]}),
            answers("dasd", "math", {"a": [True], "b": [True], "c": [True], "d": [True]}),
            answers("base", "code", {"a": [False], "b": [False]}),
            answers("dasd", "code", {"a": [False], "b": [False]}),
        ]
    )
    gain = paired_difference(question_counts(table), "base", "dasd", ["math", "code"])
    assert gain is not None
    assert gain.benchmark == OVERALL
    assert gain.difference.value == pytest.approx(0.5)
    assert gain.p_value == pytest.approx(2 / 16, abs=0.04)


def test_nothing_in_common_is_no_difference() -> None:
    table = pa.concat_tables(
        [answers("base", "math", {"a": [True]}), answers("dasd", "math", {"b": [True]})]
    )
    counts = question_counts(table)
    assert paired_difference(counts, "base", "dasd", ["math"]) is None
    assert paired_difference(counts, "base", "dasd", ["code"]) is None
    assert paired_difference(counts, "base", "dasd", []) is None


def test_pairing_finds_a_gain_that_unpaired_intervals_miss() -> None:
    before = np.tile([0, 1, 2, 3], 20)
    table = pa.concat_tables(
        [accuracies("base", "math", before, 4), accuracies("dasd", "math", before + 1, 4)]
    )
    counts = question_counts(table)
    gain = paired_difference(counts, "base", "dasd", ["math"])
    assert gain is not None
    assert gain.difference.low == gain.difference.high == 0.25
    assert gain.p_value < 0.001


def test_p_values_are_level_when_nothing_changed() -> None:
    generator = np.random.default_rng(11)
    p_values = []
    for trial in range(200):
        chances = generator.beta(2, 2, size=40)
        table = pa.concat_tables(
            [
                accuracies(name, "math", generator.binomial(4, chances), 4)
                for name in ("base", "dasd")
            ]
        )
        bootstrap = Bootstrap(resamples=300, seed=trial)
        gain = paired_difference(question_counts(table), "base", "dasd", ["math"], bootstrap)
        assert gain is not None
        p_values.append(gain.p_value)
    shares = [np.mean(np.array(p_values) <= level) for level in (0.05, 0.25, 0.5)]
    # Three standard errors of a share of 200.
    assert shares == pytest.approx([0.05, 0.25, 0.5], abs=0.107)
    assert shares[0] <= 0.1


def test_pass_at_k_is_the_share_of_all_draws_of_k_answers() -> None:
    generator = np.random.default_rng(5)
    n_samples, n_correct = np.array([6, 6, 6, 6]), generator.integers(0, 7, 4)
    for k in range(1, 7):
        drawn = [
            [any(index < correct for index in draw) for draw in itertools.combinations(range(6), k)]
            for correct in n_correct
        ]
        assert pass_at_k(n_samples, n_correct, k) == pytest.approx(np.mean(drawn))


def test_pass_at_is_reported_for_powers_of_two_and_k() -> None:
    assert numbers_of_answers(1) == [1]
    assert numbers_of_answers(6) == [1, 2, 4, 6]
    assert numbers_of_answers(64) == [1, 2, 4, 8, 16, 32, 64]
    table = pa.concat_tables(
        [
            accuracies("base", "math", np.array([0, 3, 6]), 6),
            accuracies("base", "code", np.array([4, 0]), 4),
        ]
    )
    counts = question_counts(table)
    scores = benchmark_scores(counts)
    assert scores["base", "math"].pass_at == {
        1: pytest.approx(0.5),
        2: pytest.approx((0 + (1 - 3 / 15) + 1) / 3),
        4: pytest.approx(2 / 3),
        6: pytest.approx(2 / 3),
    }
    assert scores["base", "math"].pass_at[1] == pytest.approx(scores["base", "math"].avg_at_k.value)
    overall = overall_score(counts, "base", ["math", "code"])
    assert overall is not None
    assert overall.pass_at == {  # of the 4 answers that both have
        j: pytest.approx((scores["base", "math"].pass_at[j] + 0.5) / 2) for j in (1, 2, 4)
    }


def test_answers_without_a_final_part_are_counted() -> None:
    table = answers("base", "math", {"a": [True, False], "b": [False, False]})
    verdicts = ["correct", "no_final_answer", "no_final_answer", "wrong_number"]
    counts = question_counts(table.append_column("verdict", [verdicts]))
    assert benchmark_scores(counts)["base", "math"].no_answer_share == pytest.approx(0.5)
    overall = overall_score(counts, "base", ["math"])
    assert overall is not None
    assert overall.no_answer_share == pytest.approx(0.5)
    assert benchmark_scores(question_counts(table))["base", "math"].no_answer_share is None


def test_the_interval_is_that_of_all_resamples_of_the_questions() -> None:
    correct = np.array([0, 1, 4, 4, 2])
    means = [np.mean(draw) / 4 for draw in itertools.product(correct, repeat=5)]
    estimate = avg_at_k(accuracies("base", "math", correct, 4), Bootstrap(0.9, resamples=40_000))
    # The distribution is in steps of 0.05: one step is what drawing may move a quantile by.
    assert estimate.low == pytest.approx(np.quantile(means, 0.05), abs=0.051)
    assert estimate.high == pytest.approx(np.quantile(means, 0.95), abs=0.051)


def test_the_interval_takes_questions_not_answers_as_drawn() -> None:
    # 10 questions, always or never right: 640 answers say no more than 10.
    few = avg_at_k(accuracies("base", "math", np.array([64, 0] * 5), 64), Bootstrap(seed=3))
    assert few.high - few.low > 0.5


def sign_flips(gains: np.ndarray) -> float:
    """Exact two-sided p-value over all signs."""
    signs = np.array(list(itertools.product([-1, 1], repeat=len(gains))))
    means = np.abs((signs * gains).mean(axis=1))
    return float((means >= abs(gains.mean()) - 1e-12).mean())


def paired(before: np.ndarray, after: np.ndarray, k: int) -> PairedDifference:
    table = pa.concat_tables(
        [accuracies("x", "math", before, k), accuracies("y", "math", after, k)]
    )
    gain = paired_difference(
        question_counts(table), "x", "y", ["math"], Bootstrap(resamples=40_000)
    )
    assert gain is not None
    return gain


@pytest.mark.parametrize("seed", range(4))
def test_the_paired_test_is_that_of_all_sign_flips(seed: int) -> None:
    generator = np.random.default_rng(seed)
    before, after = generator.integers(0, 5, 9), generator.integers(1, 5, 9)
    gain = paired(before, after, 4)
    assert gain.p_value == pytest.approx(sign_flips((after - before) / 4), abs=0.01)
    assert gain.difference.value == pytest.approx((after - before).mean() / 4)


def test_with_one_answer_a_question_the_paired_test_is_mcnemars() -> None:
    # 8 questions are won and 2 lost; the 6 on which both agree say nothing.
    before = np.array([0] * 8 + [1] * 2 + [1] * 6)
    after = np.array([1] * 8 + [0] * 2 + [1] * 6)
    exact = 2 * sum(math.comb(10, n) for n in range(3)) / 2**10
    assert paired(before, after, 1).p_value == pytest.approx(exact, abs=0.01)
