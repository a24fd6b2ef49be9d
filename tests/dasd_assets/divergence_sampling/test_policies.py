"""Policies: what each holds to be the better response, and chance that depends on ids alone."""

from __future__ import annotations

import math
import typing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dasd_assets.divergence_sampling.policies import POLICIES, random_order, scored
from dasd_assets.profile import PROJECT_ROOT, DivergenceSampling
from resources.lake.table import ContractError

RESPONSES = pa.table(
    {
        "response_id": ["a", "b", "c"],
        "teacher_sentence_share": pa.array([0.1, 0.9, 0.5], pa.float32()),
        "n_teacher_sentences": pa.array([7, 9, 10], pa.int32()),
        "n_teacher_sentence_tokens": pa.array([80, 30, 70], pa.int32()),
        "n_student_sentence_tokens": pa.array([10, 60, 0], pa.int32()),
        "n_common_sentence_tokens": pa.array([10, 0, 30], pa.int32()),
        "n_student_tokens": pa.array([300, 100, 200], pa.int32()),
        "p_teacher": pa.array([0.5, 0.25, 0.75], pa.float32()),
        "p_student": pa.array([0.5, 0.75, 0.0], pa.float32()),
        "mean_clipped_student_rank": pa.array([3.0, 2.5, 60.0], pa.float32()),
    }
)


def test_the_profile_allows_exactly_these() -> None:
    allowed = DivergenceSampling.model_fields["policy"].annotation
    assert set(typing.get_args(allowed)) == set(POLICIES)


def test_the_documentation_has_all_of_them() -> None:
    text = Path(PROJECT_ROOT, "docs", "selection-policies.md").read_text(encoding="utf-8")
    assert [name for name in POLICIES if f"| `{name}` |" not in text] == []


@pytest.mark.parametrize(
    ("policy", "best_first"),
    [
        ("divergence_share", "bca"),
        ("divergence_count", "cba"),
        ("divergence_tokens", "acb"),
        ("longest", "acb"),
        ("teacher_likelihood", "cab"),
        ("student_surprisal", "cab"),
        ("rank_surprisal_ratio", "cab"),
    ],
)
def test_higher_is_better(policy: str, best_first: str) -> None:
    scores = POLICIES[policy](RESPONSES, 0)
    assert "".join("abc"[place] for place in (-scores).argsort()) == best_first
    assert (POLICIES[policy](RESPONSES, 1) == scores).all()


def test_the_token_weighted_share_is_of_the_tokens_in_scored_sentences() -> None:
    assert POLICIES["divergence_tokens"](RESPONSES, 0) == pytest.approx([0.8, 1 / 3, 0.7])
    none_scored = {f"n_{kind}_sentence_tokens": [0] for kind in ("teacher", "student", "common")}
    assert POLICIES["divergence_tokens"](pa.table(none_scored), 0).tolist() == [0.0]


def test_surprisal_is_in_nats_per_token_and_finite_where_a_probability_vanishes() -> None:
    scores = POLICIES["student_surprisal"](RESPONSES, 0)
    assert scores[0] == pytest.approx(math.log(2))
    assert math.isfinite(scores[2])


def test_the_rank_surprisal_ratio_is_that_of_its_paper() -> None:
    """Sum of the ranks, each clipped at 100, over the sum of the surprisals (arXiv 2601.14249)."""
    rng = np.random.default_rng(0)
    ranks = rng.integers(1, 300, 50)
    surprisals = rng.exponential(1.0, 50)
    row = {
        "response_id": ["r"],
        "mean_clipped_student_rank": pa.array([np.minimum(ranks, 100).mean()], pa.float32()),
        "p_student": pa.array([math.exp(-surprisals.mean())], pa.float32()),
    }
    expected = np.minimum(ranks, 100).sum() / surprisals.sum()
    assert POLICIES["rank_surprisal_ratio"](pa.table(row), 0)[0] == pytest.approx(-expected)


def test_an_answer_without_surprise_has_a_finite_ratio_and_comes_last() -> None:
    certain = pa.table(
        {
            "p_student": pa.array([1.0, 0.999999, 0.5], pa.float32()),
            "mean_clipped_student_rank": pa.array([1.0, 1.0, 90.0], pa.float32()),
        }
    )
    scores = POLICIES["rank_surprisal_ratio"](certain, 0)
    assert np.isfinite(scores).all()
    assert scores[0] < scores[1] < scores[2]


def test_random_order_depends_on_id_seed_and_use_alone() -> None:
    table = pa.table({"response_id": [f"r{index}" for index in range(1_000)]})
    lots = random_order(table, 0)
    assert ((lots >= 0) & (lots < 1)).all()
    assert lots.mean() == pytest.approx(0.5, abs=0.05)
    assert (random_order(table.slice(500), 0) == lots[500:]).all()
    assert (random_order(table, 1) != lots).all()
    other = random_order(table, 0, "another use")
    assert abs(np.corrcoef(lots, other)[0, 1]) < 0.1


def test_a_score_that_is_not_finite_names_the_response_and_its_numbers() -> None:
    broken = RESPONSES.set_column(
        RESPONSES.column_names.index("p_teacher"),
        "p_teacher",
        pa.array([0.5, math.nan, math.inf], pa.float32()),
    )
    with pytest.raises(ContractError, match=r"2 response\(s\), first b with .*p_teacher=nan"):
        scored(broken, "teacher_likelihood", 0)
    assert (scored(RESPONSES, "longest", 0) == [300, 100, 200]).all()
