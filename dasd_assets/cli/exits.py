"""How a command ends when something is wrong: a message, an exit code, no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

EXIT_FAILED, EXIT_BAD_INPUT = 1, 2


@contextmanager
def refusing(*errors: type[Exception]) -> Iterator[None]:
    """End the command as for bad input when one of these errors is raised inside."""
    try:
        yield
    except errors as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(EXIT_BAD_INPUT) from error
