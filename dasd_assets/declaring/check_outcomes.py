"""What the checks found of the data that is there, for everybody who asks.

A partition is green in the UI as soon as it is made, whatever its checks found, or if they were
never run: so `dasd run`, `dasd status` and the line `up to date` say it, and `dasd run` makes anew
what a blocking check has not passed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import dagster as dg

from dasd_assets.dagster_internals import (
    AssetGraph,
    CheckOutcome,
    CheckStatus,
    LatestEvents,
    check_outcomes,
    evaluations,
)
from dasd_assets.partitions import still_there
from dasd_assets.profile import Profile
from dasd_assets.profile.data_contracts import CONTRACTS, Severity

ALLOWED: Final = "allowed"
"""In the metadata of a check, and of what it saw: the limits in words."""
SEVERITY: Final = "severity"
"""In the metadata of a check: the profile's."""
FAILING: Final = frozenset({CheckStatus.FAILED, CheckStatus.BROKEN})
UNFINISHED: Final = frozenset({CheckStatus.BROKEN, CheckStatus.NOT_RUN})
"""Of what has been made, and was to be looked at."""
SHOWN: Final = 3
"""Checks, and partitions, that are named; of more, how many they are."""


@dataclass(frozen=True)
class Unmet:
    """Checks of an asset that do not hold of the same partitions, or were not run on them.

    Attributes:
        checks: sorted names.
        fails: or they were not run.
        partitions: sorted; empty of an asset without partitions.
    """

    asset: dg.AssetKey
    checks: tuple[str, ...]
    fails: bool
    partitions: tuple[str, ...]

    @property
    def n_partitions(self) -> int:
        """An asset without partitions counts as one."""
        return max(1, len(self.partitions))

    def __str__(self) -> str:
        n = len(self.checks)
        if self.fails:
            verb = "fails" if n == 1 else "fail"
        else:
            verb = "was not run" if n == 1 else "were not run"
        said = f"{', '.join(self.checks) if n <= SHOWN else f'{n} checks'} {verb}"
        if not self.partitions:
            return said
        named = ", ".join(self.partitions[:SHOWN])
        more = ", …" if len(self.partitions) > SHOWN else ""
        return f"{said} in {len(self.partitions)} partition(s) ({named}{more})"


def unmet(outcomes: Iterable[CheckOutcome]) -> list[Unmet]:
    """Checks that fail or were not run, with their partitions; by asset, what fails first."""
    found: dict[tuple[dg.AssetCheckKey, bool], list[str]] = {}
    for one in outcomes:
        if one.status in FAILING or one.status is CheckStatus.NOT_RUN:
            partitions = found.setdefault((one.key, one.status in FAILING), [])
            partitions += [] if one.partition is None else [one.partition]
    alike: dict[tuple[dg.AssetKey, bool, tuple[str, ...]], list[str]] = {}
    for (key, fails), partitions in found.items():
        alike.setdefault((key.asset_key, not fails, tuple(sorted(partitions))), []).append(key.name)
    together = [
        Unmet(asset, tuple(sorted(names)), not was_not_run, partitions)
        for (asset, was_not_run, partitions), names in alike.items()
    ]
    return sorted(together, key=lambda one: (one.asset, not one.fails, one.checks))


def not_passed(
    graph: AssetGraph,
    instance: dg.DagsterInstance,
    keys: Collection[dg.AssetKey],
    latest: LatestEvents,
) -> dict[dg.AssetKey, set[str | None]]:
    """Asset -> partitions of which a blocking check has failed, or was to run and did not.

    Dagster holds back what is below them in the run that checks them, and no longer: to a run that
    begins later, a partition is there or it is not. A check did not run if its step or its run was
    killed, before or while it looked at what had been made. A partition that was made without its
    checks, as the UI lets one, is not among them.
    """
    checks = graph.get_check_keys_for_assets(set(keys))
    blocking = [one for one in checks if graph.get(one).blocking]
    outcomes = check_outcomes(instance, blocking, latest) if blocking else []
    failed = [one for one in outcomes if one.status is CheckStatus.FAILED]
    errors = [
        one
        for one, seen in evaluations(instance, failed).items()
        if seen.severity is dg.AssetCheckSeverity.ERROR  # and does not only warn
    ]
    not_run = UNFINISHED | {CheckStatus.NOT_MADE}
    found: dict[dg.AssetKey, set[str | None]] = {key: set() for key in keys}
    for one in [*errors, *(one for one in outcomes if one.status in not_run)]:
        found[one.key.asset_key].add(one.partition)
    return found


def of_contracts(
    instance: dg.DagsterInstance, profile: Profile, assets: Collection[str]
) -> Iterator[tuple[CheckOutcome, Severity]]:
    """What the checks in `CONTRACTS` found that came to an end, with the profile's severity.

    Of the partitions that there still are, as everywhere.

    Args:
        assets: names of the assets whose checks are meant.
    """
    checks = [
        dg.AssetCheckKey(dg.AssetKey.from_user_string(name), contract.name)
        for name in sorted(assets)
        for contract in CONTRACTS.get(name.split("/")[0], ())
    ]
    latest = LatestEvents(instance, {check.asset_key for check in checks})
    is_there = still_there(profile, instance)
    for one in check_outcomes(instance, checks, latest):
        if one.status in (CheckStatus.PASSED, CheckStatus.FAILED) and is_there(one.partition):
            settings = profile.checks.of(one.key.asset_key.path[0])
            yield one, settings[one.key.name].severity
