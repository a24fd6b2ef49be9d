"""What is wrong with the lake, told by the commands whose queries would not notice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from dasd_assets.profile import Profile
from dasd_assets.profile.home import home, lake_address, lake_folder
from resources.lake.bucket_folder import bucket_of

if TYPE_CHECKING:
    from resources.lake.lake_folder import LakeFolder


def tell_damage(profile: Profile) -> None:
    """Name the tables' files that are gone or damaged at a glance: a query does without them."""
    from resources.lake.examination import Examination

    for name, problem in Examination(_lake(profile)).table_problems():
        told = f"{name} {problem}: what you see lacks it, or rests on it; `dasd run` makes it again"
        typer.secho(told, fg=typer.colors.YELLOW, err=True)


def _lake(profile: Profile) -> LakeFolder:
    """The profile's lake; a folder as that alone, without the resource and Dagster."""
    folder = lake_folder(profile, home(profile))
    if lake_address(profile) and bucket_of(folder):
        from dasd_assets.profile.open_lake import open_lake

        return open_lake(profile)
    from resources.lake.lake_folder import LakeFolder

    return LakeFolder(str(folder))
