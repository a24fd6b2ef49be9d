"""The code location: the asset graph of the active profile.

The profile is named by the environment variable `DASD_PROFILE` (a shipped profile or the path of
a YAML file; default `tiny`), its data folder by `DASD_HOME` (default `.dasd/<profile>`).
"""

from __future__ import annotations

import dagster as dg

from dasd_assets.own_packages import require_own_packages

# Before what is below is imported: it would fail with words that help nobody.
require_own_packages()

from dasd_assets.graph import build_definitions
from dasd_assets.profile.home import active_profile, home, require_kept_records


def definitions() -> dg.Definitions:
    """Definitions of the active profile."""
    profile = active_profile()
    folder = home(profile)
    require_kept_records(folder)
    return build_definitions(profile, folder)


defs = definitions()
