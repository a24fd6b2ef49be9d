"""What was measured is held against the limits of the profile.

Two comparisons a number, of which a partition has a few dozen: nothing is imported for that. Great
Expectations knows the same limits as suites (`checks.data_docs`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dasd_assets.profile.check_settings import CheckSettings


@dataclass(frozen=True)
class Measurement:
    """What was measured for one check: a number per subject, infinity if there is none to give.

    Without any subject there was nothing to measure, and the check passes.
    """

    check: str
    values: Mapping[str, float]
    examples: tuple[str, ...] = ()
    """Ids of rows that break the check, a few."""
    details: Any = None
    """More of what was seen, for people."""
    cause: str = ""
    """What a person reads first where the check fails: why, in one line."""


@dataclass(frozen=True)
class Verdict:
    """Outcome of one check: what was observed against what is allowed."""

    measured: Measurement
    settings: CheckSettings
    passed: bool
    outside: tuple[str, ...]
    """Subjects whose value is not allowed, with the value."""


def judge(measured: Sequence[Measurement], settings: Mapping[str, CheckSettings]) -> list[Verdict]:
    """Hold what was measured of one asset against its limits; verdicts in the same order.

    Raises:
        ValueError: a measured value is not a number.
    """
    return [_verdict(one, settings[one.check]) for one in measured]


def _verdict(measured: Measurement, settings: CheckSettings) -> Verdict:
    if any(math.isnan(value) for value in measured.values.values()):
        raise ValueError(f"check {measured.check}: a measured value is not a number")
    low = -math.inf if settings.min is None else settings.min
    high = math.inf if settings.max is None else settings.max
    outside = tuple(
        f"{subject}: {value:g}"
        for subject, value in measured.values.items()
        if not low <= value <= high
    )
    return Verdict(measured, settings, not outside, outside)
