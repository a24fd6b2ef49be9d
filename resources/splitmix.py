"""SplitMix64's finaliser, which makes hashes of sums and products."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def spread_bits(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Let every bit of a value move every bit of it, in place; returns the values."""
    for shift, multiplier in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values ^= values >> np.uint64(shift)
        values *= np.uint64(multiplier)
    values ^= values >> np.uint64(31)
    return values
