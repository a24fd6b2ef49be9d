"""Greedy packing without cutting: best fit, longest first."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def pack(lengths: Sequence[int], max_length: int) -> list[npt.NDArray[np.int64]]:
    """Put samples into sequences of at most `max_length` tokens, each sample whole.

    Best-fit decreasing: the longest sample first, each into the fullest sequence that still has
    room. Deterministic; O(n log n) comparisons.

    Args:
        lengths: tokens of each sample.
        max_length: tokens of one packed sequence.

    Returns:
        For each packed sequence the indices of its samples; every index is in exactly one.

    Raises:
        ValueError: a sample is empty or longer than `max_length`; it names the first one.
    """
    sizes = np.asarray(lengths, np.int64)
    for index in np.flatnonzero((sizes < 1) | (sizes > max_length))[:1]:
        raise ValueError(
            f"sample {index} has {sizes[index]} tokens; a packed sequence takes 1 to {max_length}"
        )
    sequences: list[list[int]] = []
    # Sorted (room left, sequence): the first entry with enough room is the best fit.
    rooms: list[tuple[int, int]] = []
    for sample in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[sample])
        place = bisect.bisect_left(rooms, (size, -1))
        if place == len(rooms):
            room, sequence = max_length, len(sequences)
            sequences.append([])
        else:
            room, sequence = rooms.pop(place)
        sequences[sequence].append(sample)
        bisect.insort(rooms, (room - size, sequence))
    return [np.asarray(sequence, np.int64) for sequence in sequences]
