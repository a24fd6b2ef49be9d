"""Selection policies: what makes a response worth training on. Higher is better.

A policy is a function of rows with the schema RESPONSE_PROVENANCE. A new one needs an entry in
`POLICIES` and its name in `DivergenceSampling.policy` of the profile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.profile.divergence_sampling import WITHOUT_TEACHER
from resources.lake.table import ContractError

Scores = npt.NDArray[np.float64]
Policy = Callable[[pa.Table, int], Scores]
"""(rows with the schema RESPONSE_PROVENANCE, seed) -> one score per row."""

LEAST_SURPRISAL = 1e-7
"""Nats per token; p_student is a float32, which near 1 tells no smaller surprisal from 0."""


def random_order(responses: pa.Table, seed: int, use: str = "") -> Scores:
    """A number in [0, 1) per response that depends on its id, the seed and the use alone.

    Adding or reordering responses leaves the numbers of the others as they are.
    """
    key = (f"{seed}\0{use}\0" if use else f"{seed}\0").encode()
    names = pc.cast(responses["response_id"], pa.binary()).to_pylist()
    digests = b"".join(hashlib.blake2b(key + name, digest_size=8).digest() for name in names)
    numbers = np.frombuffer(digests, ">u8").astype(np.uint64)
    # 53 bits are what a float64 in [0, 1) has; all 64 could round to 1.
    return (numbers >> np.uint64(11)) / 2.0**53


def divergence_count(responses: pa.Table, seed: int) -> Scores:
    """Number of Teacher Sentences: divergence-aware sampling (section 4; arXiv 2512.20908)."""
    return _column(responses, "n_teacher_sentences")


def divergence_share(responses: pa.Table, seed: int) -> Scores:
    """Share of Teacher Sentences: hardly better than random in arXiv 2512.20908."""
    return _column(responses, "teacher_sentence_share")


def divergence_tokens(responses: pa.Table, seed: int) -> Scores:
    """Share of the student tokens in scored sentences that lie in Teacher Sentences."""
    teacher, student, common = (
        _column(responses, f"n_{kind}_sentence_tokens") for kind in ("teacher", "student", "common")
    )
    return teacher / np.maximum(teacher + student + common, 1)


def longest(responses: pa.Table, seed: int) -> Scores:
    """Student tokens of the response."""
    return _column(responses, "n_student_tokens")


def teacher_likelihood(responses: pa.Table, seed: int) -> Scores:
    """Geometric mean of the teacher's token probabilities."""
    return _column(responses, "p_teacher")


def student_surprisal(responses: pa.Table, seed: int) -> Scores:
    """Mean negative log-probability under the base student, in nats per token."""
    return -np.log(np.maximum(_column(responses, "p_student"), np.finfo(np.float32).tiny))


def rank_surprisal_ratio(responses: pa.Table, seed: int) -> Scores:
    """Minus the Rank-Surprisal Ratio (arXiv 2601.14249), of which less is better.

    The ratio is the mean rank of the tokens under the base student, ranks beyond 100 counted as
    100, over their mean surprisal: low for tokens that the student would not have written, but
    has among its first choices.
    """
    surprisal = np.maximum(student_surprisal(responses, seed), LEAST_SURPRISAL)
    return -_column(responses, "mean_clipped_student_rank") / surprisal


POLICIES: dict[str, Policy] = {
    "divergence_count": divergence_count,
    "divergence_share": divergence_share,
    "divergence_tokens": divergence_tokens,
    "random": random_order,
    "longest": longest,
    "teacher_likelihood": teacher_likelihood,
    "student_surprisal": student_surprisal,
    "rank_surprisal_ratio": rank_surprisal_ratio,
}
"""Policy by its name in the profile."""


def rankable(responses: pa.Table, policy: str) -> pa.Table:
    """The responses that a policy can rank.

    Those whose teacher probabilities nobody knows are left out where the policy needs them: an
    imported answer that does not fit into the teacher's context, for example.

    Args:
        responses: rows with the schema RESPONSE_PROVENANCE.

    Raises:
        ContractError: the policy needs them, and there is no response of which they are known.
    """
    if policy in WITHOUT_TEACHER:
        return responses
    known = responses.filter(pc.is_valid(responses["p_teacher"]))
    if responses.num_rows and not known.num_rows:
        raise ContractError(
            f"divergence_sample: {policy} needs the teacher's probabilities, and nobody knows them "
            f"for any of {responses.num_rows} responses; left_out in teacher_scores says why. "
            f"Policies that do without: {', '.join(WITHOUT_TEACHER)}."
        )
    return known


def scored(responses: pa.Table, policy: str, seed: int) -> Scores:
    """The policy's score of every response.

    Raises:
        ContractError: a score is not finite; the message names the response and its numbers.
    """
    scores = POLICIES[policy](responses, seed)
    broken = np.flatnonzero(~np.isfinite(scores))
    if len(broken):
        row = responses.slice(int(broken[0]), 1).to_pylist()[0]
        floats = {name: value for name, value in row.items() if isinstance(value, float)}
        raise ContractError(
            f"divergence_sample: {policy} has no finite score for {len(broken)} response(s), first "
            f"{row['response_id']} with "
            + ", ".join(f"{name}={value}" for name, value in floats.items())
        )
    return scores


def _column(responses: pa.Table, name: str) -> Scores:
    values: Scores = responses[name].to_numpy().astype(np.float64)
    return values
