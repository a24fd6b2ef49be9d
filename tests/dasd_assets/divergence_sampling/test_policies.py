"""Policies: what each holds to be the better response, and chance that depends on ids alone."""

from __future__ import annotations

import math
import typing

import pyarrow as pa
import pytest

from dasd_assets.divergence_sampling.policies import POLICIES, random_order
from dasd_assets.profile import DivergenceSampling

RESPONSES = pa.table(
    {
        "response_id": ["a", "b", "c"],
        "teacher_sentence_share": pa.array([0.1, 0.9, 0.5], pa.float32()),
        "n_student_tokens": pa.array([300, 100, 200], pa.int32()),
        "p_teacher": pa.array([0.5, 0.25, 0.75], pa.float32()),
        "p_student": pa.array([0.5, 0.75, 0.0], pa.float32()),
    }
)


def test_the_profile_allows_exactly_these() -> None:
    allowed = DivergenceSampling.model_fields["policy"].annotation
    assert set(typing.get_args(allowed)) == set(POLICIES)


@pytest.mark.parametrize(
    ("policy", "best_first"),
    [
        ("divergence", "bca"),
        ("longest", "acb"),
        ("teacher_likelihood", "cab"),
        ("student_surprisal", "cab"),
    ],
)
def test_higher_is_better(policy: str, best_first: str) -> None:
    scores = POLICIES[policy](RESPONSES, 0)
    assert "".join("abc"[place] for place in (-scores).argsort()) == best_first
    assert (POLICIES[policy](RESPONSES, 1) == scores).all()


def test_surprisal_is_in_nats_per_token_and_finite_where_a_probability_vanishes() -> None:
    scores = POLICIES["student_surprisal"](RESPONSES, 0)
    assert scores[0] == pytest.approx(math.log(2))
    assert math.isfinite(scores[2])


def test_random_order_depends_on_id_and_seed_alone() -> None:
    table = pa.table({"response_id": [f"r{index}" for index in range(1_000)]})
    lots = random_order(table, 0)
    assert ((lots >= 0) & (lots < 1)).all()
    assert lots.mean() == pytest.approx(0.5, abs=0.05)
    assert (random_order(table.slice(500), 0) == lots[500:]).all()
    assert (random_order(table, 1) != lots).all()
