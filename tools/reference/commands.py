"""The reference of all commands in docs/cli.md, as typer makes it of their help.

`make reference` writes it anew below the marker; a test compares the two.
"""

from __future__ import annotations

from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from dasd_assets.profile import PROJECT_ROOT

MARKER = "<!-- below: make reference -->\n"
PAGE = PROJECT_ROOT / "docs" / "cli.md"


def reference() -> str:
    """Markdown from the marker on: every command with its options and examples."""
    from dasd_assets.cli.main import app

    group = typer.main.get_command(app)
    context = typer.Context(group, info_name="dasd")
    with context:
        text = get_docs_for_click(obj=group, ctx=context, name="dasd", indent=1)
    # A default inside the project is a path of the machine that this runs on.
    text = text.replace(f"{PROJECT_ROOT}/", "").replace(f"{Path.home()}/", "~/")
    return MARKER + "\n" + text.strip() + "\n"


def write_commands() -> None:
    """Write the page."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(text[: text.index(MARKER)] + reference(), encoding="utf-8")
