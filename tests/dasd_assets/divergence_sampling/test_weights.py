"""Weights of samples: a power of the teacher's probability, bounded, with mean 1."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dasd_assets.divergence_sampling.weights import sample_weights
from dasd_assets.profile import DivergenceSampling, NoWeights, PowerWeights
from resources.lake.table import ContractError


def selected(*p_teacher: float) -> pa.Table:
    ids = [f"r{index}" for index in range(len(p_teacher))]
    return pa.table({"response_id": ids, "p_teacher": pa.array(p_teacher, pa.float32())})


def test_without_weights_each_sample_counts_once() -> None:
    assert sample_weights(selected(0.1, 0.9), NoWeights()).tolist() == [1.0, 1.0]
    assert DivergenceSampling(budget_samples={"low": 1}).weights == NoWeights()


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        (PowerWeights(), [0.5, 1.0, 1.5]),
        (PowerWeights(exponent=2.0), [3 / 14, 12 / 14, 27 / 14]),
        # The largest at its bound, the others share 3 - 1.2 in the ratio 1 : 2; both at theirs.
        (PowerWeights(max_weight=1.2), [0.6, 1.2, 1.2]),
        (PowerWeights(exponent=9.0, max_weight=1.25), [0.5, 1.25, 1.25]),
    ],
)
def test_weights_by_hand(settings: PowerWeights, weights: list[float]) -> None:
    found = sample_weights(selected(0.25, 0.5, 0.75), settings)
    np.testing.assert_allclose(found, weights, rtol=1e-6)


@given(
    st.lists(st.floats(2**-10, 1.0, width=32), min_size=1, max_size=50),
    st.floats(0.1, 4.0),
    st.floats(1.01, 20.0),
)
def test_weights_have_mean_one_and_keep_the_order_and_the_bound(
    p_teacher: list[float], exponent: float, max_weight: float
) -> None:
    settings = PowerWeights(exponent=exponent, max_weight=max_weight)
    weights = sample_weights(selected(*p_teacher), settings).astype(np.float64)
    assert (weights > 0).all()
    assert weights.mean() == pytest.approx(1.0, rel=1e-5)
    assert weights.max() <= max_weight * (1 + 1e-6)
    assert (np.diff(weights[np.argsort(p_teacher)]) >= 0).all()


@pytest.mark.parametrize("p_teacher", [0.0, -0.5, math.nan, math.inf])
def test_a_probability_that_is_none_is_named(p_teacher: float) -> None:
    with pytest.raises(ContractError, match=r"p_teacher, which is .* for r1; it has to be above 0"):
        sample_weights(selected(0.5, p_teacher, 0.5), PowerWeights())


@pytest.mark.parametrize(
    "weights", [{"kind": "power", "exponent": 0.0}, {"kind": "power", "max_weight": 1.0}]
)
def test_settings_that_weigh_nothing_are_refused(weights: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="greater than"):
        DivergenceSampling.model_validate({"weights": weights})


def test_no_sample_has_no_weights() -> None:
    assert len(sample_weights(selected(), PowerWeights())) == 0
