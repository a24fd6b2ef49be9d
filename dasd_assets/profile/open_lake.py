"""The lake of a profile: a folder of this machine, or a bucket."""

from __future__ import annotations

from pathlib import Path

from dasd_assets.profile import Profile
from dasd_assets.profile.home import home, lake_address, lake_folder
from resources.lake.bucket_folder import bucket_of
from resources.lake.lake import Lake


def open_lake(profile: Profile, folder: Path | None = None) -> Lake:
    """The resource for the lake that the environment or the profile names.

    Args:
        folder: the data folder, if not the profile's.

    Raises:
        ProfileError: the address is neither a folder nor `s3://bucket/prefix`.
        ObjectStoreError: the folder for a bucket's copies cannot be made.
    """
    data = folder or home(profile)
    root = lake_folder(profile, data)
    uri = bucket_of(root) if lake_address(profile) else None
    if uri is None:
        return Lake(root=str(root))
    from resources.lake.bucket_lake import BucketLake
    from resources.lake.bucket_owner import deployment

    return BucketLake(root=str(root), uri=uri, owner=deployment(data))
