"""`dasd trace`: the whole story of one question or answer, from the drop to the checkpoints."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from dasd_assets.cli.exits import refusing
from dasd_assets.cli.story import UnknownIdError, tell
from dasd_assets.home import active_profile, home
from dasd_assets.profile import ProfileError

WIDTH_WITHOUT_TERMINAL = 120


def trace(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="A question_id, response_id, rollout_id or continuation_id."
        ),
    ],
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Write the provenance viewer of the answers to this file."),
    ] = None,
) -> None:
    """Tell one sample's whole story, from the drop to the checkpoints that it trained.

    Question, shard, file and line, prompts, every answer with its settings, filter verdicts with
    the evidence, sentence classes with p_T and p_S, score, rank, why it was chosen or not,
    rollouts and continuations made of it.
    """
    import duckdb
    from rich.console import Console

    from dasd_assets.cli.story_page import Page
    from dasd_assets.cli.story_prompts import prompts
    from dasd_assets.evaluation.examples import example_answers
    from dasd_assets.evaluation.provenance_viewer import render_viewer
    from resources.contracts import ContractError
    from resources.warehouse import open_warehouse

    with refusing(ProfileError, ContractError, UnknownIdError, duckdb.Error, OSError):
        profile = active_profile()
        lake = home(profile) / "lake"
        warehouse = open_warehouse(lake)
        story = tell(warehouse, lake, name)
        if html is not None:
            ids = [answer.sample["response_id"] for answer in story.answers]
            viewer = render_viewer(f"Provenance of {name}", example_answers(warehouse, ids))
            html.write_text(viewer, encoding="utf-8")
            typer.echo(f"{html}: {len(ids)} answer(s)")
            return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
    page = Page(Console(width=width, highlight=False, markup=False, emoji=False))
    page.print_question(story)
    page.print_prompts(prompts(profile, story))
    page.print_answers(story)
    for answer in story.answers:
        page.print_answer(answer, story)
