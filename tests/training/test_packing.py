"""Packing: every sample whole, in exactly one sequence, and little room wasted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.packing import pack


@given(st.lists(st.integers(1, 64), min_size=1, max_size=200))
def test_every_sample_is_in_exactly_one_sequence_and_fits(lengths: list[int]) -> None:
    sequences = pack(lengths, 64)
    assert sorted(np.concatenate(sequences).tolist()) == list(range(len(lengths)))
    sizes = [sum(lengths[sample] for sample in sequence) for sequence in sequences]
    assert max(sizes) <= 64
    # No two sequences would have fitted into one: best fit leaves none more than half empty twice.
    assert sum(size <= 32 for size in sizes) <= 1


def test_packing_is_deterministic_and_close_to_full() -> None:
    lengths = np.random.default_rng(0).integers(40, 300, 2_000).tolist()
    first, again = pack(lengths, 1_024), pack(lengths, 1_024)
    assert [a.tolist() for a in first] == [b.tolist() for b in again]
    assert sum(lengths) / (len(first) * 1_024) > 0.98


def test_packing_wastes_little_at_the_lengths_of_reasoning() -> None:
    """Log-normal lengths around the paper's mean of some 10K tokens, cut at the 64K context."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(9.0, 0.8, 30_000), 300, 65_536).astype(np.int64)
    sequences = pack(lengths, 65_536, multiple_of=8)
    assert lengths.sum() / (len(sequences) * 65_536) > 0.98


@given(
    st.lists(st.integers(1, 64), min_size=1, max_size=80),
    st.integers(1, 16),
)
def test_sequences_are_evened_out_without_losing_a_sample(
    lengths: list[int], multiple_of: int
) -> None:
    packed = pack(lengths, 64)
    if -(-len(packed) // multiple_of) * multiple_of > len(lengths):
        with pytest.raises(ValueError, match=rf"spread over a multiple of {multiple_of} "):
            pack(lengths, 64, multiple_of)
        return
    sequences = pack(lengths, 64, multiple_of)
    assert len(sequences) == -(-len(packed) // multiple_of) * multiple_of
    assert sorted(np.concatenate(sequences).tolist()) == list(range(len(lengths)))
    assert all(0 < sum(lengths[sample] for sample in sequence) <= 64 for sequence in sequences)


@pytest.mark.parametrize(("lengths", "index"), [([5, 65], 1), ([5, 5, 0], 2)])
def test_a_sample_that_cannot_be_packed_is_named(lengths: list[int], index: int) -> None:
    with pytest.raises(ValueError, match=f"sample {index} has"):
        pack(lengths, 64)


def test_one_each_is_the_longest_first_and_cannot_be_evened_out() -> None:
    assert [one.tolist() for one in pack([3, 5, 4], 100, one_each=True)] == [[1], [2], [0]]
    with pytest.raises(ValueError, match="3 samples in 3 packed sequences cannot be"):
        pack([3, 5, 4], 100, multiple_of=2, one_each=True)
