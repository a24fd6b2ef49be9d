"""`dasd pictures`: the pictures of a run as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dasd_assets.cli.exits import refusing
from dasd_assets.profile import ProfileError
from dasd_assets.profile.home import active_profile


def pictures(
    folder: Annotated[Path, typer.Argument(help="Folder for the files; made if it is missing.")],
) -> None:
    """Write the pictures of the stage report as PNG files, with transparent backgrounds.

    What has not been made yet is an empty picture.
    """
    from dasd_assets.profile.open_lake import open_lake
    from dasd_assets.reporting.collect import funnel_steps, stage_rows, training_logs
    from dasd_assets.reporting.figures import to_png
    from dasd_assets.reporting.pictures import run_pictures
    from resources.lake.table import ContractError
    from resources.lake.warehouse import open_warehouse

    with refusing(ProfileError, ContractError, OSError):
        profile = active_profile()
        lake = open_lake(profile)
        warehouse = open_warehouse(Path(lake.root))
        folder.mkdir(parents=True, exist_ok=True)
        rows, steps = stage_rows(lake, profile), funnel_steps(lake, profile)
        for picture in run_pictures(rows, steps, training_logs(lake), warehouse, profile):
            file = folder / f"{picture.name}.png"
            file.write_bytes(to_png(picture.figure))
            typer.echo(f"{file}: {picture.caption}")
