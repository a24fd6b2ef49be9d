"""The finaliser against the generator that it is named for."""

from __future__ import annotations

import numpy as np

from resources.splitmix import spread_bits


def test_it_gives_the_published_numbers_of_the_generator() -> None:
    """SplitMix64 with seed 1234567 adds the golden gamma and finalises."""
    states = np.uint64(1234567) + np.arange(1, 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert spread_bits(states).tolist() == expected
