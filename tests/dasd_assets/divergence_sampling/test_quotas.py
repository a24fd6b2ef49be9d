"""Quotas: nothing over the budget, nothing left that would have fitted, shares to the unit."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dasd_assets.divergence_sampling.quotas import (
    filled,
    fitting,
    length_strata,
    place_in_question,
    shared_out,
)

ANY_SPEED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SIZES = st.lists(st.integers(1, 50), max_size=30)


def test_largest_remainders_and_what_is_not_there_handed_on() -> None:
    assert shared_out(10, {"a": 9, "b": 9, "c": 9}, {"a": 1, "b": 1, "c": 1}) == {
        "a": 4, "b": 3, "c": 3,
    }  # fmt: skip
    assert shared_out(10, {"a": 1, "b": 9, "c": 9}, {"a": 0.5, "b": 0.25, "c": 0.25}) == {
        "a": 1, "b": 5, "c": 4,
    }  # fmt: skip
    assert shared_out(10, {"a": 4, "b": 9}, {"a": 1.0}) == {"a": 4, "b": 6}
    assert shared_out(5, {"a": 1, "b": 2}, {"a": 1, "b": 1}) == {"a": 1, "b": 2}
    assert shared_out(0, {"a": 1}, {"a": 1}) == {"a": 0}
    assert shared_out(5, {}, {}) == {}


@ANY_SPEED
@given(
    st.integers(0, 10**12),
    st.dictionaries(st.integers(0, 9), st.integers(0, 10**11)),
    st.dictionaries(st.integers(0, 9), st.floats(0, 1)),
)
def test_a_budget_is_shared_out_to_the_last_unit(
    budget: int, available: dict[int, int], shares: dict[int, float]
) -> None:
    quotas = shared_out(budget, available, shares)
    assert sum(quotas.values()) == min(budget, sum(available.values()))
    assert all(0 <= quotas[group] <= available[group] for group in available)


def test_a_row_too_large_for_what_is_left_is_passed_over() -> None:
    sizes = np.array([5, 9, 4, 1, 1])
    assert fitting(np.arange(5), sizes, 10).tolist() == [0, 2, 3]
    assert fitting(np.array([4, 1, 0]), sizes, 10).tolist() == [4, 1]
    assert fitting(np.arange(5), sizes, 0).tolist() == []


@ANY_SPEED
@given(SIZES, st.integers(0, 500))
def test_nothing_that_would_still_fit_is_left(sizes: list[int], budget: int) -> None:
    """Against the loop that takes one row after the other."""
    expected, left = [], budget
    for row, size in enumerate(sizes):
        if size <= left:
            expected.append(row)
            left -= size
    taken = fitting(np.arange(len(sizes)), np.array(sizes, np.int64), budget)
    assert taken.tolist() == expected


@ANY_SPEED
@given(st.data(), SIZES)
def test_groups_are_filled_and_their_remainders_too(data: st.DataObject, sizes: list[int]) -> None:
    rows = np.arange(len(sizes))
    groups = np.array([data.draw(st.integers(0, 2)) for _ in sizes], np.int64)
    quotas = {group: data.draw(st.integers(0, 200)) for group in range(3)}
    weights = np.array(sizes, np.int64)
    taken = filled(rows, groups, weights, quotas)
    assert len(set(taken.tolist())) == len(taken)
    left = sum(quotas.values()) - weights[taken].sum()
    assert left >= 0
    assert all(sizes[row] > left for row in set(rows.tolist()) - set(taken.tolist()))
    for group, quota in quotas.items():
        in_group = fitting(rows[groups == group], weights, quota)
        assert set(in_group.tolist()) <= set(taken.tolist())


@ANY_SPEED
@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(1, 8))
def test_strata_are_ordered_and_keep_equal_lengths_together(
    lengths: list[int], n_strata: int
) -> None:
    strata = length_strata(np.array(lengths), n_strata)
    assert strata.min() >= 1
    assert strata.max() <= n_strata
    by_length: dict[int, set[int]] = {}
    for length, stratum in zip(lengths, strata.tolist(), strict=True):
        by_length.setdefault(length, set()).add(stratum)
    ordered = [by_length[length] for length in sorted(by_length)]
    assert all(len(found) == 1 for found in ordered)
    assert [max(found) for found in ordered] == sorted(max(found) for found in ordered)


def test_strata_of_different_lengths_hold_as_many_each() -> None:
    lengths = np.random.default_rng(0).permutation(1_000)
    assert np.bincount(length_strata(lengths, 8))[1:].tolist() == [125] * 8
    assert length_strata(np.array([7, 7, 7]), 4).tolist() == [1, 1, 1]


def test_places_count_the_rows_of_a_question_in_their_order() -> None:
    questions = np.array([1, 1, 2, 1, 2])
    assert place_in_question(np.array([3, 0, 1, 4, 2]), questions).tolist() == [0, 1, 2, 0, 1]
    assert place_in_question(np.array([], np.int64), questions).tolist() == []
