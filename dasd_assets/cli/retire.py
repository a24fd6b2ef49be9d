"""`dasd retire`: take a question shard out of the pipeline."""

from __future__ import annotations

from typing import Annotated

import typer

from dasd_assets.cli.exits import refusing
from dasd_assets.cli.prepare import prepare
from dasd_assets.profile import ProfileError


def retire(
    shard: Annotated[str, typer.Argument(help="The question_shard, such as `drop-01`.")],
    yes: Annotated[
        bool, typer.Option("--yes/--dry-run", help="Do it; otherwise only show what would leave.")
    ] = False,
) -> None:
    """Show what leaves with a question_shard, and with --yes take it out.

    Its rows leave the tables for the lake's folder `_retired`, and the partition is gone. The next
    `dasd run` draws the samples anew that were drawn from it, and curates anew the shards that had
    questions of it, too, which were rejected there. Its drop has to be out of the inbox. To leave a
    shard out of the samples and keep it: `divergence_sampling.exclude_shards`.
    """
    import dagster as dg

    from dasd_assets.definitions import defs
    from dasd_assets.profile.open_lake import open_lake
    from dasd_assets.questions.inbox import retiring

    with refusing(ProfileError, retiring.RetireError):
        profile, folder = prepare()
        lake = open_lake(profile, folder)
        inbox = profile.questions.inbox
        with dg.DagsterInstance.get() as instance:
            retiring.require_retirable(lake, instance, inbox, shard)
            found = retiring.leaving(lake, instance, shard, defs.resolve_asset_graph())
            if yes:
                retiring.retire(lake, instance, inbox, shard)
    typer.echo(f"With question_shard {shard} {'left' if yes else 'would leave'}:")
    for line in found.lines():
        typer.echo(f"  {line}")
    if not yes:
        typer.echo(f"Nothing was changed. `dasd retire {shard} --yes` does it.")
    elif found.drawn_anew or found.returning:
        typer.echo("`dasd run` curates and draws anew what that says, and makes what is below it.")
