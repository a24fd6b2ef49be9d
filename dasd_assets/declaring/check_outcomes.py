"""What the newest execution of each check on data found, of every partition."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import dagster as dg

from dasd_assets.profile import Profile
from dasd_assets.profile.data_contracts import CONTRACTS, Severity


@dataclass(frozen=True)
class CheckOutcome:
    """One check of one partition; `severity` is the profile's."""

    asset: str
    check: str
    partition: str | None
    passed: bool
    severity: Severity


def check_outcomes(
    instance: dg.DagsterInstance, profile: Profile, assets: Collection[str]
) -> Iterator[CheckOutcome]:
    """Outcomes of the checks in `CONTRACTS`; a check that has not come to an end has none.

    Args:
        assets: names of the assets whose checks are meant.
    """
    keys = [
        dg.AssetCheckKey(dg.AssetKey.from_user_string(name), contract.name)
        for name in sorted(assets)
        for contract in CONTRACTS.get(name.split("/")[0], ())
    ]
    ended = {"SUCCEEDED": True, "FAILED": False}
    for info in instance.event_log_storage.get_asset_check_partition_info(keys):
        status = info.latest_execution_status.value
        if status in ended:
            key = info.check_key
            limits = profile.checks.of(key.asset_key.path[0])[key.name]
            yield CheckOutcome(
                key.asset_key.to_user_string(),
                key.name,
                info.partition_key,
                ended[status],
                limits.severity,
            )
