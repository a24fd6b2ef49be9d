"""Greedy packing without cutting: best fit, longest first."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def pack(
    lengths: Sequence[int] | npt.NDArray[np.int64],
    max_length: int,
    multiple_of: int = 1,
    one_each: bool = False,
) -> list[npt.NDArray[np.int64]]:
    """Put samples into sequences of at most `max_length` tokens, each sample whole.

    Best-fit decreasing: the longest sample first, each into the fullest sequence that still has
    room. Deterministic; O(n log n) comparisons.

    Args:
        lengths: tokens of each sample.
        max_length: tokens of one packed sequence.
        multiple_of: their number is a multiple of this; sequences of several samples are split
            for that, so that no sequence has to be seen twice to fill a batch.
        one_each: every sample in a sequence of its own.

    Returns:
        For each packed sequence the indices of its samples; every index is in exactly one.

    Raises:
        ValueError: a sample is empty or longer than `max_length` (it names the first one), or
            there are too few samples for `multiple_of` sequences.
    """
    sizes = np.asarray(lengths, np.int64)
    for index in np.flatnonzero((sizes < 1) | (sizes > max_length))[:1]:
        raise ValueError(
            f"sample {index} has {sizes[index]} tokens; a packed sequence takes 1 to {max_length}"
        )
    smallest = sizes.min(initial=max_length)
    sequences: list[list[int]] = []
    # Sorted (room left, sequence): the first entry with enough room is the best fit.
    rooms: list[tuple[int, int]] = []
    for sample in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[sample])
        place = bisect.bisect_left(rooms, (size, -1))
        if one_each or place == len(rooms):
            room, sequence = max_length, len(sequences)
            sequences.append([])
        else:
            room, sequence = rooms.pop(place)
        sequences[sequence].append(sample)
        if room - size >= smallest:
            bisect.insort(rooms, (room - size, sequence))
    _even_out(sequences, multiple_of)
    return [np.asarray(sequence, np.int64) for sequence in sequences]


def _even_out(sequences: list[list[int]], multiple_of: int) -> None:
    """Move last (shortest) samples into sequences of their own, from the fullest first."""
    n_missing = -len(sequences) % multiple_of
    n_movable = sum(map(len, sequences)) - len(sequences)
    if n_missing > n_movable:
        raise ValueError(
            f"{len(sequences) + n_movable} samples in {len(sequences)} packed sequences cannot be "
            f"spread over a multiple of {multiple_of} (processes x micro_batch_size): add samples, "
            "or lower one of the two"
        )
    while n_missing:
        for sequence in sorted(sequences, key=len, reverse=True)[:n_missing]:
            if len(sequence) > 1:
                sequences.append([sequence.pop()])
                n_missing -= 1
