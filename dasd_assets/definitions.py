"""The code location: the asset graph of the active profile.

The profile is named by the environment variable `DASD_PROFILE` (a shipped profile or the path of
a YAML file; default `tiny`), its data folder by `DASD_HOME` (default `.dasd/<profile>`).
"""

from __future__ import annotations

import dagster as dg

from dasd_assets.graph import build_definitions
from dasd_assets.profile.home import active_profile, home


def definitions() -> dg.Definitions:
    """Definitions of the active profile."""
    profile = active_profile()
    return build_definitions(profile, home(profile))


defs = definitions()
