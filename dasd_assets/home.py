"""Where a pipeline keeps its data: the lake and Dagster's own home, one folder per profile."""

from __future__ import annotations

import os
from pathlib import Path

from dasd_assets.profile import Profile, load_profile

DEFAULT_PROFILE = "tiny"


def active_profile() -> Profile:
    """The profile named by the environment variable DASD_PROFILE."""
    return load_profile(os.environ.get("DASD_PROFILE") or DEFAULT_PROFILE)


def home(profile: Profile) -> Path:
    """Data folder of a profile: DASD_HOME, or `.dasd/<profile>` below the profile's folder.

    That is the project root for a profile that lies in the project.
    """
    chosen = os.environ.get("DASD_HOME")
    return Path(chosen).resolve() if chosen else profile.folder / ".dasd" / profile.name
