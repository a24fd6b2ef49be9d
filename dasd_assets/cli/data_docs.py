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
    with_rows: Annotated[
        bool, typer.Option("--rows", help="Validate the rows of every table as well, on DuckDB.")
    ] = False,
    is_opened: Annotated[
        bool, typer.Option("--open", help="Open the first page in the browser as well.")
    ] = False,
) -> None:
    """Validate the last results of all checks with Great Expectations and write its Data Docs.

    No row of the lake is read without `--rows`: the checks keep what they measured. The checks in
    the UI link to the pages once these are there; `dasd ui` serves them.
    """
    from checks.data_docs import NothingCheckedError, build_data_docs
    from dasd_assets.profile.open_lake import open_lake

    with refusing(ProfileError, NothingCheckedError):
        profile = active_profile()
        page, unmet = build_data_docs(open_lake(profile), profile, with_rows=with_rows)
    for asset, n in unmet.items():
        if n:
            typer.echo(f"{asset}: {n} expectation(s) do not hold")
    typer.echo(page)
    if is_opened and not webbrowser.open(page.as_uri()):
        typer.echo("no browser could be started; open the file yourself", err=True)
        raise typer.Exit(EXIT_FAILED)


def expectations(
    folder: Annotated[Path, typer.Argument(help="Where the JSON files are written.")],
) -> None:
    """Write the profile's checks as Great Expectations suites, a JSON file each.

    Of every asset the numbers that its checks measure, with their limits; of every table
    (`<table>.rows.json`) what must hold of its rows.
    """
    from checks.data_docs import suite
    from checks.row_suites import row_suite
    from dasd_assets.profile.data_contracts import CONTRACTS
    from resources.lake.tables import TABLES

    with refusing(ProfileError, OSError):
        profile = active_profile()
        folder.mkdir(parents=True, exist_ok=True)
        suites = [suite(asset, profile) for asset in CONTRACTS]
        suites += [row_suite(table, profile) for table in TABLES]
        for one in suites:
            text = json.dumps(one.to_json_dict(), indent=2)
            (folder / f"{one.name}.json").write_text(f"{text}\n", encoding="utf-8")
    typer.echo(f"{folder}: {len(suites)} suites")
