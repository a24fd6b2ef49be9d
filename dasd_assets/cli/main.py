"""`dasd`: run the pipeline of the active profile on this machine and look at the result."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dasd_assets.cli.add_questions import add_questions
from dasd_assets.cli.check import check
from dasd_assets.cli.compare_policies import compare_policies
from dasd_assets.cli.data_docs import data_docs, expectations
from dasd_assets.cli.docs import docs
from dasd_assets.cli.doctor import doctor
from dasd_assets.cli.examples import EXAMPLES
from dasd_assets.cli.exits import DEBUG, EXIT_FAILED, Commands, refusing
from dasd_assets.cli.export import export
from dasd_assets.cli.init import init
from dasd_assets.cli.pages import pages
from dasd_assets.cli.pictures import pictures
from dasd_assets.cli.plan import plan
from dasd_assets.cli.prepare import OBJECTS_BETWEEN_COLLECTIONS, prepare
from dasd_assets.cli.publish import publish
from dasd_assets.cli.pull import pull
from dasd_assets.cli.report import report
from dasd_assets.cli.retire import retire
from dasd_assets.cli.sql import sql
from dasd_assets.cli.status import status
from dasd_assets.cli.trace import trace
from dasd_assets.cli.verify import verify
from dasd_assets.cli.verify_release import verify_release
from dasd_assets.profile import SHIPPED, Profile, ProfileError
from dasd_assets.profile.home import DEFAULT_PROFILE
from dasd_assets.reporting.code_version import code_version
from dasd_assets.running import process_kind
from resources.compute.gpus import TooFewGpusError

if TYPE_CHECKING:
    from dasd_assets.running.local_runner import Outcome, Work

app = typer.Typer(
    cls=Commands,
    add_completion=True,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,  # locals may hold a secret
    help="The DASD training pipeline on one machine. Profile: environment variable DASD_PROFILE "
    f"(default {DEFAULT_PROFILE}); data folder: DASD_HOME (default .dasd/<profile>). Exit codes: 0 "
    "all is well, 1 something failed, 2 the input cannot be used.",
    epilog=EXAMPLES["dasd"],
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(code_version())
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help=f"Show the traceback of an error; so does {DEBUG}=1.")
    ] = False,
) -> None:
    """What holds for every command."""
    process_kind.is_a_command = True
    if debug:
        os.environ[DEBUG] = "1"


def run(
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Partitions that are made side by side at most. Default: as many as the cores "
            "that they declare (`compute.*.cpus`) leave room for, which also bounds a number.",
        ),
    ] = None,
    select: Annotated[
        str,
        typer.Option(
            help="Only these assets, in Dagster's selection syntax: `key:questions`, "
            "`+key:divergence_sample` (with all above it), `group:evaluation`. Empty: all."
        ),
    ] = "",
) -> None:
    """Register new question drops, then make everything that is missing or stale.

    A second run makes nothing that is up to date; a run after a kill makes what is missing.
    """
    from dasd_assets.cli.preflight import ModelsRefusedError

    with refusing(BadInputError, ProfileError, TooFewGpusError, ModelsRefusedError):
        profile, folder = prepare()
        _check_inbox(profile)
        failures = _run(profile, folder, workers, select)
    if failures:
        for outcome in failures:
            typer.secho(f"failed: {outcome.work}", fg=typer.colors.RED, err=True)
            for cause in outcome.errors:
                typer.echo(f"  {cause}", err=True)
        typer.echo(
            "Partitions that were finished are kept. Mend the cause and run `dasd run` again; "
            "the UI (`dasd ui`) has the whole log.",
            err=True,
        )
        raise typer.Exit(EXIT_FAILED)


def ui(
    port: Annotated[int, typer.Option(help="Port of the webserver.")] = 3000,
    host: Annotated[str, typer.Option(help="Interface to listen on.")] = "127.0.0.1",
    pages_port: Annotated[
        int, typer.Option(help="Port of the pages: report, viewers, certificates, pictures.")
    ] = 3001,
) -> None:
    """Open the Dagster UI over the pipeline's runs (`dagster dev` with the right home).

    The report, the other pages of the lake and the pictures are served beside it, where the
    metadata of their assets links to; DASD_PAGES_URL is their address if it is another one from
    outside.
    """
    from dasd_assets.declaring.pages import PAGES_URL, pages_url
    from dasd_assets.running import pages_server

    with refusing(ProfileError, TooFewGpusError):
        prepare()
        _set_pool_limits()
    os.environ[PAGES_URL] = pages_url(host, pages_port)
    pages_server.start(host, pages_port)
    typer.echo(f"report: {os.environ[PAGES_URL]}/{pages_server.FRONT}")
    program = Path(sys.executable).with_name("dagster")
    workspace = str(SHIPPED / "workspace.yaml")
    os.execv(program, ["dagster", "dev", "-w", workspace, "--port", str(port), "--host", host])


class BadInputError(Exception):
    """Something the user has to mend before any work is done."""


def _check_inbox(profile: Profile) -> None:
    from dasd_assets.questions.inbox.listing import InboxError, inbox_at, list_inbox

    try:
        listing = list_inbox(inbox_at(profile.questions.inbox))
    except InboxError as error:
        raise BadInputError(str(error)) from error
    if not listing.drops:
        reasons = "".join(f"\n  {reason}" for reason in listing.refused.values())
        raise BadInputError(f"{profile.questions.inbox}: no question drops in the inbox{reasons}")


def _set_pool_limits() -> None:
    import dagster as dg

    from dasd_assets.declaring.pools import set_pool_limits
    from dasd_assets.definitions import defs

    with dg.DagsterInstance.get() as instance:
        set_pool_limits(instance, defs)
        instance.get_asset_keys(limit=1)  # the events are in a database of their own: is it whole?


def _run(profile: Profile, folder: Path, workers: int | None, select: str) -> list[Outcome]:
    import dagster as dg

    from dasd_assets.cli.preflight import try_models
    from dasd_assets.cli.progress import ProgressPrinter
    from dasd_assets.cli.summary import print_summary
    from dasd_assets.declaring.jobs import run_tags
    from dasd_assets.profile.open_lake import open_lake
    from dasd_assets.questions.inbox.sensors import register_drops
    from dasd_assets.running import checks_alone
    from dasd_assets.running.local_run_launcher import end_killed_runs
    from dasd_assets.running.local_runner import LocalRunner, SelectionError, all_assets_job
    from resources.engines.model_folder import ModelFolderError

    for name, model in {**profile.answerers, "base_student": profile.base_student}.items():
        try:
            model.inspect()
        except ModelFolderError as error:
            raise BadInputError(f"{name}: {error}") from error

    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    started = time.monotonic()
    _set_pool_limits()
    with dg.DagsterInstance.get() as instance:
        for warning in register_drops(instance, profile).warnings:
            typer.secho(f"inbox: {warning}", fg=typer.colors.YELLOW, err=True)
        if killed := end_killed_runs(instance):
            typer.echo(f"{killed} run(s) whose process was killed marked as failed")
        try:
            lake = open_lake(profile, folder)
            tags = run_tags(profile.name, "dasd run")
            runner = LocalRunner(instance, lake, workers, folder / "workers.log", select, tags)
        except SelectionError as error:
            raise BadInputError(str(error)) from error
        try_models(profile, lake, runner.models_used(), folder / "workers.log")
        n_runs = 0

        def on_plan(work: list[Work]) -> None:
            nonlocal n_runs
            n_runs += len(work)

        with ProgressPrinter(instance, runner.invocation, started) as progress:
            failures = runner.run(on_plan, progress.on_end)

        def check_again(assets: set[dg.AssetKey]) -> None:
            job = all_assets_job().get_definition()
            checked = checks_alone.check(job, runner.graph, instance, assets)
            typer.echo(f"{sum(one.n_run for one in checked)} checks ran that a run had not come to")

        unmet = runner.tell_how_it_stands(None if failures else check_again)
        if not failures and not select:
            print_summary(profile, folder, instance)
        for one in unmet:
            line = f"check: {one.asset.to_user_string()}: {one}"
            typer.secho(line, fg=typer.colors.YELLOW)
        if n_runs:
            typer.echo(
                f"{n_runs} runs in {time.monotonic() - started:.0f} s, "
                f"peak memory {progress.peak_bytes / 1024**3:.1f} GiB"
            )
        else:
            what = f"What {select} selects" if select else "Everything"
            typer.echo(f"{what} is up to date; nothing was run.")
    return failures


PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Start": (init, pull, doctor, plan, add_questions, run, retire),
    "Look": (status, check, ui, pages, report, trace, sql, verify, verify_release, docs),
    "Analyse": (pictures, compare_policies, data_docs),
    "Give away": (export, publish, expectations),
}
"""Commands as `dasd --help` groups them, in the order that they are first needed in."""

for panel, commands in PANELS.items():
    for command in commands:
        name = command.__name__.replace("_", "-")
        app.command(name, rich_help_panel=panel, epilog=EXAMPLES[name])(command)
