"""`dasd verify`: whether what is in the lake is what was written, every byte of it."""

from __future__ import annotations

import typer

from dasd_assets.cli.exits import EXIT_FAILED, refusing
from dasd_assets.cli.prepare import prepare
from dasd_assets.profile import ProfileError


def verify() -> None:
    """Read every file of the lake and compare it with what was written; name what differs.

    Tables, checkpoints, reports and releases. What is damaged is made again by the next `dasd run`.
    Ends with exit code 1 if something is gone or damaged. A release that lies elsewhere is examined
    by `dasd verify-release`.
    """
    import dagster as dg

    from dasd_assets.dagster_internals import keys_of
    from dasd_assets.declaring.out_of_date import Staleness
    from dasd_assets.definitions import defs
    from dasd_assets.profile.open_lake import open_lake

    with refusing(ProfileError):
        profile, folder = prepare()
        lake = open_lake(profile, folder)
    graph = defs.resolve_asset_graph()
    n_damaged = n_files = n_unrecorded = 0
    with dg.DagsterInstance.get() as instance:
        staleness = Staleness(graph, instance, lake)
        for level in graph.toposorted_asset_keys_by_level:
            for key in sorted(level):
                for partition in sorted(keys_of(staleness.made(key)), key=str):
                    found = staleness.stored.verified(key, partition)
                    n_files += found.n_files
                    n_unrecorded += found.n_unrecorded
                    n_damaged += len(found.problems)
                    name = key.to_user_string() + (f" [{partition}]" if partition else "")
                    for problem in found.problems:
                        typer.secho(f"{name}: {problem}", fg=typer.colors.RED, err=True)
    if n_unrecorded:
        typer.echo(
            f"{n_unrecorded} were written before there were checksums: they can be read, but not "
            "compared with what was written"
        )
    if n_damaged:
        typer.echo(
            f"{n_damaged} of {n_files} gone or damaged; `dasd run` makes them again", err=True
        )
        raise typer.Exit(EXIT_FAILED)
    typer.echo(f"{n_files} in the lake, each what was written")
