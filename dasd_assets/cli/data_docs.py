"""`dasd data-docs` and `dasd expectations`: the checks as Great Expectations knows them."""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from dasd_assets.cli.exits import EXIT_FAILED, refusing
from dasd_assets.profile import ProfileError
from dasd_assets.profile.home import active_profile


def data_docs(
    is_opened: Annotated[
        bool, typer.Option("--open", help="Open the first page in the browser as well.")
    ] = False,
) -> None:
    """Validate the last results of all checks with Great Expectations and write its Data Docs.

    No row of the lake is read: the checks keep what they measured. The checks in the UI link to
    the pages once these are there.
    """
    from checks.data_docs import NothingCheckedError, build_data_docs
    from dasd_assets.profile.open_lake import open_lake

    with refusing(ProfileError, NothingCheckedError):
        profile = active_profile()
        page, unmet = build_data_docs(open_lake(profile), profile)
    for asset, n in unmet.items():
        if n:
            typer.echo(f"{asset}: {n} expectation(s) do not hold")
    typer.echo(page)
    if is_opened and not webbrowser.open(page.as_uri()):
        typer.echo("no browser could be started; open the file yourself", err=True)
        raise typer.Exit(EXIT_FAILED)


def expectations(
    folder: Annotated[Path, typer.Argument(help="Where a JSON file an asset is written.")],
) -> None:
    """Write the profile's checks as Great Expectations suites, one JSON file an asset."""
    from checks.data_docs import suite
    from dasd_assets.profile.data_contracts import CONTRACTS

    with refusing(ProfileError, OSError):
        profile = active_profile()
        folder.mkdir(parents=True, exist_ok=True)
        for asset in CONTRACTS:
            text = json.dumps(suite(asset, profile).to_json_dict(), indent=2)
            (folder / f"{asset}.json").write_text(f"{text}\n", encoding="utf-8")
    typer.echo(f"{folder}: {len(CONTRACTS)} suites")
