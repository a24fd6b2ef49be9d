"""`dasd docs`: the documentation of the version that is installed."""

from __future__ import annotations

from typing import Annotated

import typer

from dasd_assets.cli.exits import refusing
from dasd_assets.profile import SHIPPED

FOLDER = SHIPPED / "docs"
INDEX = "README"


class UnknownPageError(ValueError):
    """The documentation has no page of that name."""


def names(incomplete: str = "") -> list[str]:
    """Pages whose name begins like this, such as `plan` or `reference/settings`."""
    there = sorted(
        page.relative_to(FOLDER).with_suffix("").as_posix() for page in FOLDER.glob("**/*.md")
    )
    return [name for name in there if name.startswith(incomplete)]


def docs(
    page: Annotated[
        str, typer.Argument(help="Its name, as messages have it.", autocompletion=names)
    ] = INDEX,
) -> None:
    """Show a page of the documentation that came with this version; without a name, the index.

    Messages name pages by this command, so that there is one way to them from a checkout, an
    installed package and an image.
    """
    with refusing(UnknownPageError):
        if page not in names():
            raise UnknownPageError(f"no page {page!r}; there are {', '.join(names())}")
    typer.echo((FOLDER / f"{page}.md").read_text(encoding="utf-8"))
