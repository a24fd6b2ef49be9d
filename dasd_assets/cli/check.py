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
) -> None:
    """Run the checks on every partition that was made, and make nothing.

    After a changed limit of the profile's section `checks`, or where a run was cancelled before its
    checks. Ends with exit code 1 if a check fails that is more than a warning.
    """
    import dagster as dg

    from dasd_assets.definitions import defs
    from dasd_assets.running import checks_alone
    from dasd_assets.running.local_runner import SelectionError, selected_assets

    n_checks, found = 0, list[checks_alone.Finding]()
    with refusing(ProfileError, SelectionError):
        prepare()
        graph = defs.resolve_asset_graph()
        selected = selected_assets(select, graph)
    job = defs.get_repository_def().get_job(checks_alone.ALL_ASSETS_JOB)
    with dg.DagsterInstance.get() as instance:
        for n, failing in checks_alone.check(job, graph, instance, selected):
            n_checks += n
            found += failing
            for finding in failing:
                colour = typer.colors.RED if finding.is_error else typer.colors.YELLOW
                typer.secho(str(finding), fg=colour)
    typer.echo(f"{n_checks} checks, {len(found)} do not pass")
    if any(finding.is_error for finding in found):
        raise typer.Exit(EXIT_FAILED)
