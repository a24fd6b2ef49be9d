"""`dasd doctor`: can the active profile run on this machine, and what is to be done if not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Annotated

import typer

from dasd_assets.cli import doctor_machine
from dasd_assets.cli.doctor_machine import OK, PROBLEM, WARNING, Result
from dasd_assets.cli.exits import EXIT_FAILED, is_debugging, refusing
from dasd_assets.cli.prepare import prepare
from dasd_assets.profile import Profile, ProfileError

COLOURS = {OK: typer.colors.GREEN, WARNING: typer.colors.YELLOW, PROBLEM: typer.colors.RED}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
) -> None:
    """Examine this machine for the active profile; every problem comes with its remedy.

    Packages against the pinned versions, GPUs and memory against the declared compute, models and
    judges (a server is asked which models it has), one question to each teacher and one answer
    scored by the student, the memory of training by formula, the sandbox for programs, write
    access, disk against the plan, the cluster that training goes to, Dagster's instance,
    the inbox. Models are loaded for that, and a paid teacher answers one question; what was tried
    is remembered in the lake and not tried again until a model or its settings change. Ends with
    exit code 1 if there is a problem; warnings are none.
    """
    with refusing(ProfileError, OSError):
        profile, _ = prepare()
    results = [(name, result) for name, check in _checks() for result in examined(check, profile)]
    if as_json:
        import json

        typer.echo(json.dumps([{"about": name, **asdict(r)} for name, r in results], indent=1))
    else:
        typer.echo(f"profile {profile.name}\n")
        for name, result in results:
            typer.secho(f"{result.level:8}", fg=COLOURS[result.level], nl=False)
            typer.echo(f"{name}: {result.found}")
            if result.remedy:
                typer.echo(f"{'':8}  → {result.remedy}")
    if any(result.level == PROBLEM for _, result in results):
        raise typer.Exit(EXIT_FAILED)


def _checks() -> Iterator[tuple[str, Callable[[Profile], Iterator[Result]]]]:
    """What is looked at, in the order that it is shown in."""
    from dasd_assets.cli import doctor_pipeline, doctor_trials

    yield "python", doctor_machine.python
    yield "packages", doctor_machine.packages
    yield "gpus", doctor_machine.gpus
    yield "memory", doctor_machine.memory
    yield "models", doctor_pipeline.models
    yield "trial", doctor_trials.tried
    yield "judges", doctor_pipeline.judges
    yield "training", doctor_pipeline.training
    yield "training memory", doctor_trials.training_memory
    yield "training machines", doctor_pipeline.machines
    yield "sandbox", doctor_machine.sandbox
    yield "write access", doctor_machine.write_access
    yield "disk", doctor_machine.disk
    yield "dagster", doctor_pipeline.dagster
    yield "inbox", doctor_pipeline.inbox


def examined(check: Callable[[Profile], Iterator[Result]], profile: Profile) -> Iterator[Result]:
    """The results of a check; one that fails itself is a problem and no end of the others."""
    try:
        yield from check(profile)
    except Exception as error:
        if is_debugging():
            raise
        yield Result(PROBLEM, f"could not be examined: {type(error).__name__}: {error}")
