"""What is wrong with the lake, told by the commands whose queries would not notice."""

from __future__ import annotations

import typer

from dasd_assets.profile import Profile


def tell_damage(profile: Profile) -> None:
    """Name the tables' files that are gone or damaged at a glance: a query does without them."""
    from dasd_assets.profile.open_lake import open_lake
    from resources.lake.examination import Examination

    for name, problem in Examination(open_lake(profile)).table_problems():
        told = f"{name} {problem}: what you see lacks it, or rests on it; `dasd run` makes it again"
        typer.secho(told, fg=typer.colors.YELLOW, err=True)
