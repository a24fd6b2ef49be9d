"""`dasd report`: where the stage report is."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from dasd_assets.cli.exits import EXIT_FAILED, refusing
from dasd_assets.profile import ProfileError
from dasd_assets.profile.home import active_profile

REPORT = "stage_report.html"


class NoReportError(ValueError):
    """The asset stage_report has not been made yet."""


def report(
    is_opened: Annotated[
        bool, typer.Option("--open", help="Open it in the browser as well.")
    ] = False,
) -> None:
    """Print the path of the run's report, one self-contained HTML page.

    The asset `stage_report` writes it: `dasd run` does so whenever something it shows has changed.
    """
    from dasd_assets.profile.open_lake import open_lake

    with refusing(ProfileError, NoReportError, OSError):
        page = open_lake(active_profile()).file(REPORT)
        if not page.is_file():
            raise NoReportError(
                f"{page}: not made yet. `dasd run` makes it, or materialize stage_report in the UI."
            )
    typer.echo(page)
    if is_opened and not webbrowser.open(page.as_uri()):
        typer.echo("no browser could be started; open the file yourself", err=True)
        raise typer.Exit(EXIT_FAILED)
