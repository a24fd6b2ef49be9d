"""Buckets: the first similar question in the order is the match, and work on templates is bound."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dasd_assets.questions.curation.buckets import MAX_COMPARED, Buckets, Match


def shingles(*hashes: int) -> npt.NDArray[np.uint32]:
    return np.array(sorted(hashes), np.uint32)


def test_the_first_similar_question_in_the_order_is_the_match() -> None:
    buckets = Buckets(0.6)
    buckets.add((-1, 7), shingles(1, 2, 9, 8), [10])
    buckets.add((-1, 9), shingles(1, 2, 3, 5), [10, 20])
    buckets.add((0, 0), shingles(1, 2, 3, 4), [20])
    assert buckets.match(shingles(1, 2, 3, 4), [10, 20]) == Match((-1, 9), 0.6)
    assert buckets.match(shingles(1, 2, 3, 4), [20, 30]) == Match((-1, 9), 0.6)
    assert buckets.match(shingles(1, 2, 3, 4), [30]) is None
    assert buckets.match(shingles(1, 2, 7, 6), [10, 20]) is None


def test_later_shards_are_compared_with_but_come_last() -> None:
    buckets = Buckets(0.5)
    buckets.add_later((1, 0), shingles(1, 2), [10])
    assert buckets.match(shingles(1, 2), [10]) == Match((1, 0), 1.0)
    buckets.add((0, 5), shingles(1, 2, 3), [10])
    assert buckets.match(shingles(1, 2), [10]) == Match((0, 5), 2 / 3)


def test_of_a_bucket_the_first_members_are_compared_with() -> None:
    buckets = Buckets(1.0)
    for row in range(MAX_COMPARED + 1):
        buckets.add((0, row), shingles(row), [10])
    assert buckets.match(shingles(MAX_COMPARED - 1), [10]) == Match((0, MAX_COMPARED - 1), 1.0)
    assert buckets.match(shingles(MAX_COMPARED), [10]) is None


def test_a_question_behind_the_first_members_was_never_compared_with_later_shards() -> None:
    """When the later shard was curated, this question was not among those compared with."""
    buckets = Buckets(1.0)
    buckets.add_later((1, 0), shingles(1_000), [10])
    for row in range(MAX_COMPARED):
        assert buckets.match(shingles(1_000), [10]) == Match((1, 0), 1.0)
        buckets.add((0, row), shingles(row), [10])
    assert buckets.match(shingles(1_000), [10]) is None
