"""The project's definitions with Dagster's own executor: every step starts a Python anew."""

import dagster as dg

from dasd_assets import definitions

defs = dg.Definitions(
    assets=definitions.defs.assets,
    asset_checks=definitions.defs.asset_checks,
    resources=definitions.defs.resources,
    executor=dg.multiprocess_executor,
)
