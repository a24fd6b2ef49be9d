"""FLOP of a token against numbers that were reckoned by hand."""

from __future__ import annotations

import pytest

from dasd_assets.plan.answers import Answers
from dasd_assets.plan.flops import FORWARD, token_flops, training_passes
from dasd_assets.profile import load_profile
from training.settings import Training

PAPER = load_profile("dasd-4b").plan


def test_attention_adds_three_fifths_at_the_papers_length() -> None:
    assert PAPER.base_student is not None
    flops = token_flops("scores", PAPER.base_student, 17_500 / 2, FORWARD)
    assert flops.parameters == 2 * 4.02e9
    # 36 layers of 32 heads of 128, four FLOP for each of 8,750 tokens.
    assert flops.attention == 4 * 36 * 32 * 128 * 8_750
    assert flops.total / flops.parameters == pytest.approx(1.64, abs=0.005)
    trained = token_flops("training", PAPER.base_student, 17_500 / 2, 4)
    assert trained.total == 4 * flops.total


def test_of_experts_the_active_ones_count_and_of_layers_those_without_a_window() -> None:
    assert PAPER.teacher is not None
    flops = token_flops("responses", PAPER.teacher, 1_000, FORWARD)
    assert (flops.parameters, flops.attention) == (2 * 5.1e9, 4 * 18 * 64 * 64 * 1_000)


def test_recomputed_activations_are_a_pass_more() -> None:
    assert training_passes(Training(gradient_checkpointing=True)) == 4
    assert training_passes(Training(gradient_checkpointing=False)) == 3


def test_most_tokens_are_of_long_answers() -> None:
    mixed = Answers({"math": 1, "code": 1}, {"math": 300, "code": 100})
    assert (mixed.n_rows, mixed.n_tokens, mixed.mean_tokens) == (2, 400, 200)
    # 300 tokens look back at 150, 100 at 50; all at the prompt of 10.
    assert mixed.context(10) == 10 + (300 * 150 + 100 * 50) / 400
    assert Answers.alike(7, 200).context(10) == 110
    assert Answers.alike(0, 200).mean_tokens == 200
