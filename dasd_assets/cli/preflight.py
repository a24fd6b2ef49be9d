"""What `dasd run` tries of a new profile's models before the first request is paid for."""

from __future__ import annotations

import os
from collections.abc import Collection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dasd_assets.cli.doctor import examined
from dasd_assets.cli.doctor_machine import PROBLEM, WARNING, Result
from dasd_assets.cli.doctor_trials import training_memory, tried, untried
from dasd_assets.profile import Profile
from dasd_assets.profile.home import active_profile

if TYPE_CHECKING:
    from resources.lake.lake import Lake


class ModelsRefusedError(ValueError):
    """Models that the pipeline would fail with after their answers were paid for."""


def try_models(profile: Profile, lake: Lake, used: Collection[str], log_file: Path) -> None:
    """Try what was not tried yet of the models that a run uses; in a process of its own.

    Args:
        used: names of trials (`teacher`, `teachers.<name>`, `base_student`).
        log_file: gets what the engines print.

    Raises:
        ModelsRefusedError: what is wrong, and what to set.
    """
    refused = [result for result in training_memory(profile) if result.level == PROBLEM]
    new = untried(profile, lake, used)
    if new and not refused:
        typer.echo(
            f"trying {', '.join(new)} on one question before the others are paid for "
            "(once; remembered until model or settings change)"
        )
        for result in _tried_apart(new, log_file):
            if result.level == PROBLEM:
                refused.append(result)
            else:
                colour = typer.colors.YELLOW if result.level == WARNING else None
                typer.secho(f"  {result.found}", fg=colour)
    if refused:
        raise ModelsRefusedError(
            "\n".join(f"{result.found}\n  → {result.remedy}" for result in refused)
            + "\nNothing else was asked or trained."
        )


def _tried_apart(names: list[str], log_file: Path) -> list[Result]:
    """`tried` in a process that gives the memory of the models back, and their GPUs."""
    from dasd_assets.running import local_run, run_process

    context = local_run.forking(*run_process.LOADED)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(sender, names, log_file))
    process.start()
    sender.close()
    try:
        found: list[Result] = receiver.recv()
    except EOFError:
        reason = run_process.how_it_ended(process, log_file)
        found = [Result(PROBLEM, f"{', '.join(names)}: {reason}", f"{log_file} has its last words")]
    process.join()
    return found


def _tell(sender: Connection, names: list[str], log_file: Path) -> None:
    from resources.compute.parent_process import end_with_parent

    with log_file.open("a", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    end_with_parent(os.getppid())
    found = examined(lambda profile: tried(profile, names), active_profile())
    sender.send(list(found))
