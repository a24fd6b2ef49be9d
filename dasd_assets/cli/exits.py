"""How a command ends when something is wrong: a message, an exit code, no traceback."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from dasd_assets.cli.instance_errors import instance_problem

EXIT_FAILED, EXIT_BAD_INPUT = 1, 2

DEBUG = "DASD_DEBUG"
"""Environment variable: errors come with their traceback, here and in the processes below."""


def is_debugging() -> bool:
    """Whether tracebacks are asked for."""
    return os.environ.get(DEBUG, "") not in ("", "0")


@contextmanager
def refusing(*errors: type[Exception]) -> Iterator[None]:
    """End the command as for bad input when one of these errors is raised inside."""
    try:
        yield
    except errors as error:
        raise _ended(str(error), EXIT_BAD_INPUT) from error


def _ended(message: str, code: int) -> typer.Exit:
    if is_debugging():
        traceback.print_exc()
    typer.secho(f"error: {message}", fg=typer.colors.RED, err=True)
    return typer.Exit(code)


class Commands(TyperGroup):
    """Commands of which none ends with a traceback, whatever goes wrong in it."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error that it does not expect itself is its failure."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException, BrokenPipeError):
            raise  # a reader that has seen enough (`| head`) is no failure of ours
        except Exception as error:
            if problem := instance_problem(error):
                raise _ended(problem, EXIT_FAILED) from error
            what = f"{type(error).__name__}: {error}"
            hint = "" if is_debugging() else f" (`dasd --debug …` or {DEBUG}=1 shows where)"
            raise _ended(f"{what}{hint}", EXIT_FAILED) from error
