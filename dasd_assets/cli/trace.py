"""`dasd trace`: the whole story of one question or answer, from the drop to the checkpoints."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dasd_assets.cli.completion import sample_ids
from dasd_assets.cli.damage import tell_damage
from dasd_assets.cli.exits import refusing
from dasd_assets.cli.story import Story, UnknownIdError, tell
from dasd_assets.profile import Profile, ProfileError
from dasd_assets.profile.home import active_profile, home, lake_folder

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from dasd_assets.cli.story_page import Page
    from dasd_assets.reporting.graded_answers import BenchmarkStory

WIDTH_WITHOUT_TERMINAL = 120


def trace(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="A question_id, response_id, rollout_id, continuation_id or answer_id.",
            autocompletion=sample_ids,
        ),
    ],
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            help="Write a page to this file: the provenance viewer of the answers, or, of an "
            "evaluation question, every checkpoint's answers.",
        ),
    ] = None,
) -> None:
    """Tell one sample's whole story, from the drop to the checkpoints that it trained.

    Question, shard, file and line, prompts, every answer with its settings, filter verdicts with
    the evidence, sentence classes with p_T and p_S, score, rank, why it was chosen or not,
    rollouts and continuations made of it. Of an evaluation question: every checkpoint's answers
    with their verdicts, and with an answer_id the whole text of one.
    """
    import duckdb
    from rich.console import Console

    from dasd_assets.cli.benchmark_page import BenchmarkPage
    from dasd_assets.cli.story_page import Page
    from dasd_assets.reporting.graded_answers import benchmark_story
    from resources.lake.table import ContractError
    from resources.lake.warehouse import open_warehouse

    with refusing(ProfileError, ContractError, UnknownIdError, duckdb.Error, OSError):
        profile = active_profile()
        lake = lake_folder(profile, home(profile))
        warehouse = open_warehouse(lake)
        tell_damage(profile)
        benchmark = benchmark_story(warehouse, name)
        try:
            story = tell(warehouse, lake, name)
        except UnknownIdError:
            if benchmark is None:
                raise
            story = None
        if html is not None:
            page, n_answers = _html(warehouse, benchmark, story, name)
            html.write_text(page, encoding="utf-8")
            typer.echo(f"{html}: {n_answers} answer(s)")
            return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    if benchmark is not None:
        BenchmarkPage(console).print_story(benchmark)
    if story is not None:
        _print(Page(console), story, profile, lake)


def _html(
    warehouse: DuckDBPyConnection, benchmark: BenchmarkStory | None, story: Story | None, name: str
) -> tuple[str, int]:
    """The page about an evaluation question, or about a training question; answers in it."""
    from dasd_assets.reporting.examples import example_answers
    from dasd_assets.reporting.graded_answers import render_answers
    from dasd_assets.reporting.provenance_viewer import render_viewer

    if benchmark is not None:
        return render_answers(warehouse, benchmark), len(benchmark.answers)
    ids = [answer.sample["response_id"] for answer in story.answers] if story else []
    return render_viewer(f"Provenance of {name}", example_answers(warehouse, ids)), len(ids)


def _print(page: Page, story: Story, profile: Profile, lake: Path) -> None:
    from dasd_assets.cli.story_prompts import prompts

    page.print_question(story)
    page.print_prompts(prompts(profile, story, lake))
    page.print_answers(story)
    for answer in story.answers:
        page.print_answer(answer, story)
