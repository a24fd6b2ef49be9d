"""Where a pipeline keeps its data: Dagster's own home and the lake, which may be in a bucket."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dasd_assets.profile import Profile, ProfileError, load_profile, resolve_path
from resources.lake.bucket_folder import SCHEME, folder_of

DEFAULT_PROFILE = "tiny"

LAKE = "DASD_LAKE"
"""Environment variable: the lake's folder or bucket, in place of the profile's."""


def active_profile() -> Profile:
    """The profile named by the environment variable DASD_PROFILE."""
    return load_profile(os.environ.get("DASD_PROFILE") or DEFAULT_PROFILE)


def home(profile: Profile) -> Path:
    """Data folder of a profile: DASD_HOME, or `.dasd/<profile>` below the profile's folder.

    That is the project root for a profile that lies in the project.

    Raises:
        ProfileError: DASD_HOME is no folder of this machine.
    """
    chosen = os.environ.get("DASD_HOME")
    if chosen and "://" in chosen:
        raise ProfileError(
            f"DASD_HOME={chosen}: has to be a folder of this machine, for Dagster's files and for "
            f"scratch. A bucket is named by {LAKE} or by the profile's `lake`"
        )
    return Path(chosen).resolve() if chosen else profile.folder / ".dasd" / profile.name


def dagster_home(folder: Path) -> Path:
    """Dagster's home in a data folder: what DAGSTER_HOME has to be."""
    return folder / "dagster"


def require_kept_records(folder: Path) -> None:
    """Refuse to serve a UI whose records are thrown away when it ends.

    Without DAGSTER_HOME, `dagster dev` and `dg dev` make a home for themselves: none of the runs
    are in it, and what is made from there is in the lake while Dagster forgets it. A code server
    that somebody runs by hand, on a port, is told by its UI which records to use.

    Raises:
        ProfileError: this process is such a UI's code server.
    """
    if os.environ.get("DAGSTER_HOME") or not {"grpc", "--socket"} <= set(sys.argv):
        return
    raise ProfileError(
        f"DAGSTER_HOME is not set: this UI would show none of the runs of {folder}, and forget its "
        "own. `dasd ui` opens the UI over them. For `dagster dev` and `dg dev`: `dasd status` "
        "makes the home if it is not there, and one line in the file .env of the folder they are "
        f"started in names it: DAGSTER_HOME={dagster_home(folder)}"
    )


def lake_address(profile: Profile) -> str | None:
    """Folder or `s3://bucket/prefix` that the environment or the profile names for the lake."""
    chosen = os.environ.get(LAKE)
    if chosen and "://" not in chosen:
        return str(Path(chosen).resolve())
    return chosen or profile.lake


def lake_folder(profile: Profile, folder: Path) -> Path:
    """The lake's folder on this machine: the lake itself, or what is kept here of a bucket's.

    Args:
        folder: the data folder of the profile.

    Raises:
        ProfileError: the address is neither a folder nor `s3://bucket/prefix`.
    """
    address = lake_address(profile)
    if address is None:
        return folder / "lake"
    if address.startswith(SCHEME):
        return folder_of(address, folder)
    if "://" in address:
        raise ProfileError(f"lake {address}: expected a folder, s3://bucket or s3://bucket/prefix")
    return resolve_path(address)
