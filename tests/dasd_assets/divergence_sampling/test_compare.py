"""Comparing policies: the numbers of each choice, and how much two choices share."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.candidates import candidate_rows, candidate_table

from dasd_assets.divergence_sampling.compare import ALL_CANDIDATES, compare_policies, jaccard
from dasd_assets.divergence_sampling.policies import POLICIES
from dasd_assets.divergence_sampling.selection import select
from dasd_assets.profile import DivergenceSampling

ROWS = candidate_rows(240)
SETTINGS = DivergenceSampling(budget_samples={"low": 50}, length_strata=2)


def test_every_choice_is_what_selecting_with_that_policy_gives() -> None:
    comparison = compare_policies(candidate_table(ROWS), SETTINGS, "low", 0)
    assert [choice.policy for choice in comparison.choices] == list(POLICIES)
    assert comparison.budget == ("samples", 50)
    chosen = []
    for choice in comparison.choices:
        settings = SETTINGS.model_copy(update={"policy": choice.policy})
        table = select(candidate_table(ROWS), settings, "low", 0)
        rows = [row for row in table.to_pylist() if row["is_selected"]]
        chosen.append({row["response_id"] for row in rows})
        n_sentences = sum(row["n_sentences"] for row in rows)
        n_tokens = sum(row["n_student_tokens"] for row in rows)
        math_tokens = sum(row["n_student_tokens"] for row in rows if row["domain"] == "math")
        assert choice.n_samples == len(rows) == 50
        assert choice.n_tokens == n_tokens
        assert choice.mean_tokens == pytest.approx(n_tokens / 50)
        assert choice.class_shares == pytest.approx(
            {
                name: sum(row[f"n_{name}_sentences"] for row in rows) / n_sentences
                for name in ("teacher", "common", "student")
            }
        )
        assert choice.domain_shares["math"] == pytest.approx(math_tokens / n_tokens)
        assert sum(choice.domain_shares.values()) == pytest.approx(1)
        assert choice.p_teacher == pytest.approx(np.mean([row["p_teacher"] for row in rows]))
        ratios = [math.log(row["p_teacher"] / row["p_student"]) for row in rows]
        assert choice.probability_ratio == pytest.approx(math.exp(np.mean(ratios)))
    for first, second in np.ndindex(comparison.overlap.shape):
        both, either = chosen[first] & chosen[second], chosen[first] | chosen[second]
        assert comparison.overlap[first, second] == pytest.approx(len(both) / len(either))


def test_the_candidates_stand_beside_the_choices() -> None:
    everything = compare_policies(candidate_table(ROWS), SETTINGS, "low", 0).candidates
    assert everything.policy == ALL_CANDIDATES
    assert everything.n_samples == 240
    lengths = [row["n_student_tokens"] for row in ROWS]
    assert everything.lengths[2] == np.median(lengths)


def test_each_policy_has_most_of_what_it_looks_for() -> None:
    choices = {
        choice.policy: choice
        for choice in compare_policies(candidate_table(ROWS), SETTINGS, "low", 0).choices
    }
    looked_for = {
        "longest": {name: choice.mean_tokens for name, choice in choices.items()},
        "teacher_likelihood": {name: choice.p_teacher for name, choice in choices.items()},
        "student_surprisal": {name: -choice.p_student for name, choice in choices.items()},
    }
    for policy, values in looked_for.items():
        assert max(values, key=lambda name: values[name]) == policy


def test_a_budget_too_small_for_any_answer_leaves_empty_choices() -> None:
    settings = DivergenceSampling(budget_tokens={"low": 1})
    comparison = compare_policies(candidate_table(ROWS), settings, "low", 0)
    assert all(choice.n_samples == choice.n_tokens == 0 for choice in comparison.choices)
    assert all(math.isnan(choice.mean_tokens) for choice in comparison.choices)
    assert (comparison.overlap == 1).all()


def test_the_jaccard_index() -> None:
    sets = np.array([[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]], dtype=bool)
    assert jaccard(sets) == pytest.approx(np.array([[1, 1 / 4, 0], [1 / 4, 1, 0], [0, 0, 1]]))
