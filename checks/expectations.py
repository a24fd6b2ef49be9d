"""Great Expectations holds what was measured against the limits of the profile.

A suite never sees rows of the lake: it runs on a small table with one row per subject (a partition,
a domain, a table, a metric) and one column per check, which DuckDB and Arrow have computed. Its
cost is the same for a hundred tokens and a billion.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from dasd_assets.profile.check_settings import CheckSettings

if TYPE_CHECKING:
    from great_expectations.core.batch_definition import BatchDefinition

# Read when the library is imported, here or in the process that steps are forked from.
os.environ["GX_ANALYTICS_ENABLED"] = "false"

SUBJECT = "subject"


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
    """Run the suite of one asset over what was measured; verdicts in the same order.

    Raises:
        ValueError: a measured value is not a number.
    """
    import great_expectations as gx
    import pandas as pd

    subjects = list(dict.fromkeys(subject for one in measured for subject in one.values))
    columns = {one.check: [one.values.get(s) for s in subjects] for one in measured}
    for check, values in columns.items():
        if any(value is not None and math.isnan(value) for value in values):
            raise ValueError(f"check {check}: a measured value is not a number")
    summary = pd.DataFrame({SUBJECT: subjects, **columns}).astype(dict.fromkeys(columns, "float64"))
    judged = [one for one in measured if _has_limit(settings[one.check])]
    suite = gx.ExpectationSuite(
        name="checks",
        expectations=[_expectation(one.check, settings[one.check]) for one in judged],
    )
    result = (
        _summaries()
        .get_batch(batch_parameters={"dataframe": summary})
        .validate(
            suite,
            result_format={
                "result_format": "COMPLETE", "unexpected_index_column_names": [SUBJECT],
            },
        )
    )  # fmt: skip
    results: dict[str, Any] = {}
    for found in result.results:
        configuration: Any = found.expectation_config
        results[configuration.meta["check"]] = found
    return [_verdict(one, settings[one.check], results.get(one.check)) for one in measured]


def _has_limit(settings: CheckSettings) -> bool:
    return settings.min is not None or settings.max is not None


def _expectation(check: str, settings: CheckSettings) -> Any:
    import great_expectations.expectations as gxe
    from great_expectations.expectations.metadata_types import FailureSeverity

    return gxe.ExpectColumnValuesToBeBetween(
        column=check,
        min_value=settings.min,
        max_value=settings.max,
        severity=(
            FailureSeverity.CRITICAL if settings.severity == "error" else FailureSeverity.WARNING
        ),
        meta={"check": check},
    )


def _verdict(measured: Measurement, settings: CheckSettings, result: Any) -> Verdict:
    if result is None:
        return Verdict(measured, settings, True, ())
    if "element_count" not in result.result:
        raise RuntimeError(f"check {measured.check} could not be judged: {result.exception_info}")
    outside = tuple(
        f"{row[SUBJECT]}: {row[measured.check]:g}"
        for row in result.result.get("unexpected_index_list") or []
    )
    return Verdict(measured, settings, bool(result.success), outside)


@cache
def _summaries() -> BatchDefinition:
    """Where suites get their table from; made once in a process.

    Ephemeral: nothing is stored or sent anywhere. The imports take seconds, and the process that
    `dasd run` forks its steps from has them done.
    """
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("lake").add_dataframe_asset("summary")
    return asset.add_batch_definition_whole_dataframe("whole")
