"""Limits and subjects."""

from __future__ import annotations

import math

import pytest

from checks.expectations import Measurement, judge
from dasd_assets.profile.check_settings import CheckSettings


def limits(low: float | None, high: float | None) -> CheckSettings:
    return CheckSettings(severity="warn", min=low, max=high)


def test_a_value_is_held_against_both_limits() -> None:
    settings = {"a": limits(0, 1), "b": limits(1, None), "c": limits(None, 1)}
    measured = [
        Measurement("a", {"x": 0.0, "y": 1.0}),
        Measurement("b", {"x": 0.5}),
        Measurement("c", {"x": 1.0, "z": 1.5, "y": math.inf}),
    ]
    a, b, c = judge(measured, settings)
    assert (a.passed, b.passed, c.passed) == (True, False, False)
    assert b.outside == ("x: 0.5",)
    assert set(c.outside) == {"z: 1.5", "y: inf"}
    assert [verdict.measured for verdict in (a, b, c)] == measured


def test_nothing_measured_and_no_limits_pass() -> None:
    settings = {"a": limits(0, 1), "b": limits(None, None), "c": limits(1, 1)}
    measured = [Measurement("a", {}), Measurement("b", {"x": 9.0}), Measurement("c", {"x": 1.0})]
    assert [verdict.passed for verdict in judge(measured, settings)] == [True, True, True]
    assert judge([Measurement("a", {})], settings)[0].passed


def test_what_is_not_a_number_is_no_measurement() -> None:
    with pytest.raises(ValueError, match="check a: a measured value is not a number"):
        judge([Measurement("a", {"x": math.nan})], {"a": limits(0, 1)})
