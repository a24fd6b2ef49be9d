"""Means, intervals and p-values, against values reckoned by hand and against simulation."""

from __future__ import annotations

import numpy as np
import pytest

from tools.ablation.statistics import difference, effect

TWO_BY_TWO = np.array([[0.2, 0.4], [0.0, 0.2]])
"""Means of seeds 0.3 and 0.1, of questions 0.1 and 0.3: both squared standard errors are 0.01."""


def test_by_hand() -> None:
    found = effect({"math": TWO_BY_TWO})
    assert found.value == pytest.approx(0.2)
    assert found.by_seed == pytest.approx((0.3, 0.1))
    # min F' = 0.2² / (0.01 + 0.01) = 2, so t = √2 with 0.02² / (0.01² + 0.01²) = 2 degrees of
    # freedom, where P(|T| > t) = 1 - t / √(t² + 2) = 1 - 1/√2.
    assert found.p_value == pytest.approx(1 - 2**-0.5)
    # Over seeds alone t = 2 with one degree of freedom: 1 - 2/π arctan 2. The same for questions.
    assert found.p_seeds == pytest.approx(1 - 2 / np.pi * np.arctan(2))
    assert found.p_questions == pytest.approx(found.p_seeds)
    half = 4.302653 * 0.02**0.5  # t(0.975) with two degrees of freedom
    assert (found.low, found.high) == pytest.approx((0.2 - half, 0.2 + half))
    assert found.verdict == 0


def test_interval_and_p_value_agree() -> None:
    """At the confidence 1 - p the interval ends at 0."""
    found = effect({"math": TWO_BY_TWO}, confidence=2**-0.5)
    assert found.low == pytest.approx(0)


def test_evaluation_sets_weigh_the_same() -> None:
    few, many = np.full((3, 2), 0.9), np.full((3, 50), 0.1)
    found = effect({"few": few, "many": many})
    assert found.value == pytest.approx(0.5)
    assert found.by_seed == pytest.approx((0.5, 0.5, 0.5))
    # No spread at all: what chance can do does not show in these numbers.
    assert found.low == found.high == found.value
    assert found.p_value == 0


def test_spread_between_sets_is_no_chance() -> None:
    """The sets are given: that one is harder than the other widens nothing."""
    rng = np.random.default_rng(0)
    easy, hard = rng.normal(0.5, 0.1, (2, 4, 20))
    same = effect({"a": easy, "b": hard})
    apart = effect({"a": easy + 0.3, "b": hard - 0.3})
    assert apart.high - apart.low == pytest.approx(same.high - same.low)


def test_what_seeds_and_questions_have_in_common_cancels_in_a_difference() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.01, (5, 30))
    shared = rng.normal(0.5, 0.3, (5, 1)) + rng.normal(0, 0.3, (1, 30))
    alone, together = shared, shared + 0.05 + noise
    found = difference({"math": together}, {"math": alone})
    assert found.value == pytest.approx(0.05 + noise.mean())
    assert found.verdict == 1 and found.p_value < 1e-3
    turned = difference({"math": alone}, {"math": together})
    assert turned.verdict == -1
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize(("of_seeds", "of_questions"), [(0.05, 0.0), (0.0, 0.1), (0.04, 0.15)])
def test_nothing_is_shown_too_often_where_nothing_is(of_seeds: float, of_questions: float) -> None:
    """Seeds and questions that vary, and no true difference: at most 5 % are called shown."""
    rng = np.random.default_rng(2)
    n_shown = 0
    for _ in range(400):
        values = rng.normal(0, of_seeds, (5, 1)) + rng.normal(0, of_questions, (1, 40))
        n_shown += effect({"math": values + rng.normal(0, 0.3, (5, 40))}).verdict != 0
    assert n_shown <= 400 * 0.05 + 2 * (400 * 0.05 * 0.95) ** 0.5


def test_ignoring_the_seeds_would_show_what_is_not_there() -> None:
    """Why the questions alone are no unit of chance."""
    rng = np.random.default_rng(3)
    found = [
        effect({"math": rng.normal(0, 0.1, (5, 1)) + rng.normal(0, 0.1, (5, 200))})
        for _ in range(100)
    ]
    assert sum(each.p_questions < 0.05 for each in found) > 50
    assert sum(each.p_value < 0.05 for each in found) <= 10


def test_one_seed_or_one_question_is_refused() -> None:
    for shape in ((1, 5), (5, 1)):
        with pytest.raises(ValueError, match="at least two"):
            effect({"math": np.zeros(shape)})
    with pytest.raises(ValueError, match="as many seeds"):
        effect({"math": np.zeros((2, 3)), "code": np.zeros((3, 3))})


def test_no_difference_anywhere_has_p_1() -> None:
    found = difference({"math": TWO_BY_TWO}, {"math": TWO_BY_TWO})
    assert (found.value, found.p_value, found.verdict) == (0, 1, 0)
