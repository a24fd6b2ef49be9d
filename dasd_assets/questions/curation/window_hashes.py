"""Hashes of so many tokens in a row."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt


@lru_cache
def multipliers(name: str, n: int) -> npt.NDArray[np.uint64]:
    """Odd 64-bit numbers that are the same everywhere and always."""
    digests = (hashlib.blake2b(f"{name} {i}".encode(), digest_size=8).digest() for i in range(n))
    return np.array([int.from_bytes(digest, "little") | 1 for digest in digests], np.uint64)


def window_hashes(hashes: npt.NDArray[np.uint64], n: int) -> npt.NDArray[np.uint64]:
    """Hash of each n tokens in a row, [tokens - n + 1], from hashes of the tokens."""
    n_windows = max(len(hashes) - n + 1, 0)
    windows = np.zeros(n_windows, np.uint64)
    for offset, multiplier in enumerate(multipliers("shingle", n)):
        windows += (hashes[offset : offset + n_windows] + np.uint64(1)) * multiplier
    return windows
