"""How often data is expected: Dagster's freshness policies on what the inbox sensor feeds."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import dagster as dg

from dasd_assets.profile import Profile

FED: Final = frozenset({dg.AssetKey("raw_questions"), dg.AssetKey("questions")})
"""What the sensor `new_question_drops` asks for when there is a new drop."""
WARNED_AFTER: Final = 0.75


def expected(asset: dg.AssetsDefinition, profile: Profile) -> dg.AssetsDefinition:
    """The asset with its freshness policy, if it has one.

    Dagster looks at the asset's newest materialization, of whatever partition: a question_shard is
    made once, and it is the next one that is late.
    """
    hours = profile.alerts.questions_within_hours
    if hours is None:
        return asset
    policy = dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=hours), warn_window=timedelta(hours=hours * WARNED_AFTER)
    )

    def fresh(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.replace_attributes(freshness_policy=policy) if spec.key in FED else spec

    return asset.map_asset_specs(fresh)
