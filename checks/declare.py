"""How the checks on one asset are declared, run in one step and reported."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import dagster as dg

from checks.checked_partition import CheckedPartition
from checks.data_docs import page_of
from checks.drift import Summary, drift
from checks.expectations import Measurement, Verdict, judge
from checks.kept_results import keep
from checks.schema import contract_problems, table_checks
from dasd_assets.declaring.check_outcomes import ALLOWED, SEVERITY
from dasd_assets.declaring.pages import page_link
from dasd_assets.partitions import QUESTION_SHARD, TEMPERATURE, response_partition
from dasd_assets.profile import Profile
from dasd_assets.profile.data_contracts import CONTRACTS, DRIFT, Contract
from dasd_assets.questions.inbox.sensors import removed_drops
from resources.lake.lake import Lake
from resources.lake.tables import TABLES, tables_of

Measure = Callable[[CheckedPartition], Iterable[Measurement | Summary]]
"""Measures what the contract of an asset names beside the checks that every table has, and gives
the `Summary` that drift is judged by. The asset's tables are views already."""


def asset_checks(
    profile: Profile,
    asset: str | dg.AssetKey,
    measure: Measure,
    *,
    partitions_def: dg.PartitionsDefinition | None = None,
    dimension: str | None = None,
    without: Collection[str] = (),
    **fixed: str,
) -> dg.AssetChecksDefinition:
    """Checks on one asset that run in one step.

    Args:
        asset: asset key; its first part names the contract.
        dimension: what the partition key stands for; unset with the temperature x shard grid.
        without: names of checks that say nothing with this profile, and are not declared.
        fixed: dimensions of the lake's path that are no partition of the asset.
    """
    key = dg.AssetKey.from_coercible(asset)
    contract = [check for check in CONTRACTS[key.path[0]] if check.name not in without]
    settings = profile.checks.of(key.path[0])
    tables = tables_of(key.path[0])

    @dg.multi_asset_check(
        name="_".join([*key.path, "checks"]),
        can_subset=True,
        specs=[
            dg.AssetCheckSpec(
                check.name,
                asset=key,
                description=f"{check.description} Allowed: {settings[check.name].allowed}.",
                blocking=check.blocking,
                partitions_def=partitions_def,
                metadata={
                    ALLOWED: settings[check.name].allowed,
                    SEVERITY: settings[check.name].severity,
                },
            )
            for check in contract
        ],
    )
    def checks_of_asset(
        context: dg.AssetCheckExecutionContext, lake: Lake
    ) -> Iterable[dg.AssetCheckResult]:
        partition = dict(fixed)
        if dimension is not None:
            partition[dimension] = context.partition_key
        elif partitions_def is not None:
            partition |= response_partition(context.partition_key)

        def made(other: str) -> set[str]:
            return shards_made(context.instance, other, partition[TEMPERATURE])

        def registered() -> list[str]:
            return list(context.instance.get_dynamic_partitions(QUESTION_SHARD))

        def removed() -> set[str]:
            return removed_drops(context.instance, profile.questions.inbox)

        wanted = {each.name for each in context.selected_asset_check_keys}
        written = tuple(
            name for name in tables if not TABLES[name].is_optional or lake.exists(name, partition)
        )
        with CheckedPartition(lake, partition, made, registered, removed) as data:
            measured = [one for one in _measured(data, written, measure) if one.check in wanted]
        verdicts = judge(measured, settings)
        asset_name = "/".join(key.path)
        kept = keep(lake, asset_name, partition, data.name(), verdicts)
        links: dict[str, dg.MetadataValue[Any]] = {"kept": dg.MetadataValue.path(str(kept))}
        if page := page_of(lake, asset_name):
            links["data_docs"] = page_link(page)
        judged = {verdict.measured.check: verdict for verdict in verdicts}
        for check in (each for each in contract if each.name in wanted):
            yield _result(key, check, judged.get(check.name), links)

    return checks_of_asset


def shards_made(instance: dg.DagsterInstance, asset: str, temperature: str) -> set[str]:
    """Registered shards of which an asset was made at a temperature, and not wiped since."""
    made = instance.get_materialized_partitions(dg.AssetKey(asset))
    shards = instance.get_dynamic_partitions(QUESTION_SHARD)
    keys = {
        shard: dg.MultiPartitionKey({TEMPERATURE: temperature, QUESTION_SHARD: shard})
        for shard in shards
    }
    return {shard for shard, key in keys.items() if key in made}


def _measured(
    data: CheckedPartition, tables: tuple[str, ...], measure: Measure
) -> Iterator[Measurement]:
    """Everything that can be measured: of a table that breaks its contract, only that."""
    if tables:
        problems = contract_problems(data, tables)
        yield problems
        if any(problems.values.values()):
            return
        yield from table_checks(data, tables)
    for one in measure(data):
        yield drift(data, tables[0], one) if isinstance(one, Summary) else one


def _result(
    key: dg.AssetKey,
    check: Contract,
    verdict: Verdict | None,
    links: dict[str, dg.MetadataValue[Any]],
) -> dg.AssetCheckResult:
    """One verdict as the UI shows it."""
    if verdict is None:
        return dg.AssetCheckResult(
            check_name=check.name,
            asset_key=key,
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"observed": "not measured: a table breaks its contract"},
        )
    measured, settings = verdict.measured, verdict.settings
    metadata: dict[str, Any] = {
        "observed": _observed(measured),
        ALLOWED: settings.allowed,
        **links,
    }
    examples = (*(() if _is_one_number(measured) else verdict.outside), *measured.examples)
    if measured.details is not None:
        metadata["details"] = measured.details
    if examples and not verdict.passed:
        metadata["failing_examples"] = list(examples)
    severity = dg.AssetCheckSeverity.ERROR if settings.severity == "error" else (
        dg.AssetCheckSeverity.WARN
    )  # fmt: skip
    return dg.AssetCheckResult(
        check_name=check.name,
        asset_key=key,
        passed=verdict.passed,
        severity=severity,
        description=None if verdict.passed else measured.cause or None,
        metadata=metadata,
    )


def _observed(measured: Measurement) -> Any:
    """The number alone, if there is one; JSON has no infinity."""
    values = {
        subject: round(value, 6) if math.isfinite(value) else str(value)
        for subject, value in measured.values.items()
    }
    if not values:
        return "nothing to measure"
    return next(iter(values.values())) if _is_one_number(measured) else values


def _is_one_number(measured: Measurement) -> bool:
    """Whether there is but one subject to name; a change has to say of which metric it is."""
    return len(measured.values) == 1 and measured.check != DRIFT.name
