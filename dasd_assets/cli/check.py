"""`dasd check`: the checks on what is there, without making anything."""

from __future__ import annotations

from typing import Annotated

import typer

from dasd_assets.cli.exits import EXIT_FAILED, refusing
from dasd_assets.cli.prepare import prepare
from dasd_assets.profile import ProfileError


def check(
    select: Annotated[
        str,
        typer.Option(help="Only these assets, in Dagster's selection syntax. Empty: all."),
    ] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Also the checks that are not due.")
    ] = False,
) -> None:
    """Run the checks that are due on what was made, and make nothing.

    Those whose limit or severity has changed in the profile's section `checks`, and those that were
    not run on what is there, as after a cancelled run. Names all that does not pass, also by an
    earlier check; ends with exit code 1 if a check fails that is more than a warning.
    """
    import dagster as dg

    from dasd_assets.definitions import defs
    from dasd_assets.running import checks_alone
    from dasd_assets.running.local_runner import SelectionError, selected_assets

    found = list[checks_alone.Checked]()
    with refusing(ProfileError, SelectionError):
        prepare()
        graph = defs.resolve_asset_graph()
        selected = selected_assets(select, graph)
    job = defs.get_repository_def().get_job(checks_alone.ALL_ASSETS_JOB)
    with dg.DagsterInstance.get() as instance:
        for one in checks_alone.check(job, graph, instance, selected, everything=everything):
            found.append(one)
            for finding in one.findings:
                colour = typer.colors.RED if finding.is_error else typer.colors.YELLOW
                typer.secho(str(finding), fg=colour)
    typer.echo(checks_alone.summary(found))
    if any(finding.is_error for one in found for finding in one.findings):
        raise typer.Exit(EXIT_FAILED)
