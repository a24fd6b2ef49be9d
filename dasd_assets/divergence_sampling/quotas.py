"""Quotas: a budget shared out over groups, and filled with rows of unequal sizes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Group = TypeVar("Group", bound=Hashable)


def length_strata(n_tokens: Integers, n_strata: int) -> Integers:
    """Quantile bin of each length, 1-based; the same length is never in two bins.

    With few different lengths, some bins are empty.

    Args:
        n_tokens: length of each response of one domain, shape (responses,).
        n_strata: number of bins.
    """
    inner = np.arange(1, n_strata) / n_strata
    edges = np.quantile(n_tokens, inner, method="inverted_cdf")
    return np.searchsorted(edges, n_tokens, side="left").astype(np.int64) + 1


def shared_out(
    budget: int, available: Mapping[Group, int], shares: Mapping[Group, float]
) -> dict[Group, int]:
    """Budget per group: by share with largest remainders, what is not there handed on.

    Groups without a share get something only when the others have nothing left to give; equal
    remainders go by the order of `available`.
    """
    quotas = dict.fromkeys(available, 0)
    left = min(budget, sum(available.values()))
    while left:
        weights = {
            group: shares.get(group, 0.0) for group in available if quotas[group] < available[group]
        }
        if not any(weights.values()):
            weights = dict.fromkeys(weights, 1.0)
        for group, extra in _largest_remainders(left, weights).items():
            taken = min(extra, available[group] - quotas[group])
            quotas[group] += taken
            left -= taken
    return quotas


def filled(
    rows: Integers, groups: Integers, sizes: Integers, quotas: Mapping[int, int]
) -> Integers:
    """Rows that are taken, in no order.

    Each group's rows are taken in their order as far as the group's quota goes; what a group
    leaves of it goes to the rows of all groups, in their order.

    Args:
        rows: row numbers, the first to be taken first, shape (rows,).
        groups: group of each of them, shape (rows,).
        sizes: size of every row by its number.
        quotas: sum of sizes per group.
    """
    taken = [fitting(rows[groups == group], sizes, quota) for group, quota in quotas.items()]
    together = np.concatenate([*taken, np.empty(0, np.int64)])
    left = sum(quotas.values()) - int(sizes[together].sum())
    rest = rows[~np.isin(rows, together)]
    return np.concatenate([together, fitting(rest, sizes, left)])


def fitting(rows: Integers, sizes: Integers, budget: int) -> Integers:
    """Rows in their order as long as they fit; a row too large for what is left is passed over."""
    taken = [np.empty(0, np.int64)]
    rows = rows[sizes[rows] <= budget]
    while len(rows):
        total = np.cumsum(sizes[rows], dtype=np.int64)
        n_fitting = int(np.searchsorted(total, budget, side="right"))
        taken.append(rows[:n_fitting])
        budget -= int(total[n_fitting - 1])
        rows = rows[n_fitting:]
        rows = rows[sizes[rows] <= budget]
    return np.concatenate(taken)


def place_in_question(rows: Integers, questions: Integers) -> Integers:
    """How many rows of its question stand before each row.

    Args:
        rows: row numbers in some order, shape (rows,).
        questions: question of every row by its number.
    """
    by_question = np.argsort(questions[rows], kind="stable")
    ordered = questions[rows][by_question]
    starts = np.r_[True, ordered[1:] != ordered[:-1]] if len(ordered) else np.empty(0, bool)
    first = np.maximum.accumulate(np.where(starts, np.arange(len(ordered)), 0))
    places = np.empty(len(rows), np.int64)
    places[by_question] = np.arange(len(ordered)) - first
    return places


def _largest_remainders(n: int, weights: Mapping[Group, float]) -> dict[Group, int]:
    total = sum(weights.values())
    exact = {group: n * weight / total for group, weight in weights.items()}
    parts = {group: int(value) for group, value in exact.items()}
    by_remainder = sorted(exact, key=lambda group: parts[group] - exact[group])
    for group in by_remainder[: n - sum(parts.values())]:
        parts[group] += 1
    return parts
