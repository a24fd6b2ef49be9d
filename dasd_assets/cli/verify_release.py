"""`dasd verify-release`: whether the files of a release are what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dasd_assets.cli.exits import EXIT_FAILED


def verify_release(
    folder: Annotated[Path, typer.Argument(help="Folder of a released model or of data sets.")],
) -> None:
    """Compare every file of a release with its SHA256SUMS, and name what differs.

    Also of a release that was downloaded; hidden files are not looked at.
    """
    from dasd_assets.release.folder import differences

    found = differences(folder)
    for difference in found:
        typer.secho(difference, fg=typer.colors.RED, err=True)
    if found:
        raise typer.Exit(EXIT_FAILED)
    typer.echo(f"{folder}: every file is as SHA256SUMS says")
