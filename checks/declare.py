"""How a group of checks on one asset is declared, and how one verdict is reported."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import dagster as dg

from resources.lake import Lake

Run = Callable[[dg.AssetCheckExecutionContext, Lake], Iterable["Verdict"]]


@dataclass(frozen=True)
class Check:
    """Name, meaning and severity of one check; a failed blocking check stops what is below."""

    name: str
    description: str
    blocking: bool = False


@dataclass(frozen=True)
class Verdict:
    """Outcome of one check: what was observed against what is allowed."""

    check: Check
    passed: bool
    observed: Any
    expected: str
    examples: tuple[str, ...] = ()


def asset_checks(
    asset: str | dg.AssetKey,
    checks: Iterable[Check],
    run: Run,
    partitions_def: dg.PartitionsDefinition | None = None,
) -> dg.AssetChecksDefinition:
    """Checks on one asset that run in one step, so that its data is read once."""
    key = dg.AssetKey.from_coercible(asset)
    declared = list(checks)

    @dg.multi_asset_check(
        name="_".join([*key.path, "checks"]),
        specs=[
            dg.AssetCheckSpec(
                check.name,
                asset=key,
                description=check.description,
                blocking=check.blocking,
                partitions_def=partitions_def,
            )
            for check in declared
        ],
    )
    def checks_of_asset(
        context: dg.AssetCheckExecutionContext, lake: Lake
    ) -> Iterable[dg.AssetCheckResult]:
        for verdict in run(context, lake):
            failed = (
                dg.AssetCheckSeverity.ERROR
                if verdict.check.blocking
                else (dg.AssetCheckSeverity.WARN)
            )
            metadata: dict[str, Any] = {"observed": verdict.observed, "expected": verdict.expected}
            if verdict.examples:
                metadata["failing_examples"] = list(verdict.examples[:5])
            yield dg.AssetCheckResult(
                check_name=verdict.check.name,
                asset_key=key,
                passed=bool(verdict.passed),
                severity=failed,
                metadata=metadata,
            )

    return checks_of_asset
