"""Selection policies: what makes a response worth training on. Higher is better."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Scores = npt.NDArray[np.float64]
Policy = Callable[[pa.Table, int], Scores]
"""(rows with the schema RESPONSE_PROVENANCE, seed) -> one score per row."""


def random_order(responses: pa.Table, seed: int) -> Scores:
    """A number in [0, 1) per response that depends on its id and the seed alone.

    Adding or reordering responses leaves the numbers of the others as they are.
    """
    digests = (
        hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()
        for name in responses["response_id"].to_pylist()
    )
    return np.array([int.from_bytes(digest, "big") / 2**64 for digest in digests], np.float64)


def divergence(responses: pa.Table, seed: int) -> Scores:
    """Share of Teacher Sentences: the paper's divergence-aware sampling (section 4)."""
    return _column(responses, "teacher_sentence_share")


def longest(responses: pa.Table, seed: int) -> Scores:
    """Student tokens of the response."""
    return _column(responses, "n_student_tokens")


def teacher_likelihood(responses: pa.Table, seed: int) -> Scores:
    """Geometric mean of the teacher's token probabilities."""
    return _column(responses, "p_teacher")


def student_surprisal(responses: pa.Table, seed: int) -> Scores:
    """Mean negative log-probability under the base student, in nats per token."""
    return -np.log(np.maximum(_column(responses, "p_student"), np.finfo(np.float32).tiny))


POLICIES: dict[str, Policy] = {
    "divergence": divergence,
    "random": random_order,
    "longest": longest,
    "teacher_likelihood": teacher_likelihood,
    "student_surprisal": student_surprisal,
}
"""Policy by its name in the profile."""


def _column(responses: pa.Table, name: str) -> Scores:
    return responses[name].to_numpy().astype(np.float64)
