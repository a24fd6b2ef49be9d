"""What a person sees at the end of a run: stage table, funnel, report, next command."""

from __future__ import annotations

from pathlib import Path

import typer

from dasd_assets.profile import Profile
from dasd_assets.profile.open_lake import open_lake
from dasd_assets.reporting.collect import funnel_steps, stage_rows
from dasd_assets.reporting.funnel import render_funnel
from dasd_assets.reporting.stage_table import render_answer_table, render_stage_table


def print_summary(profile: Profile, folder: Path) -> None:
    """Print what the lake holds, in the order of the paper's tables."""
    lake = open_lake(profile, folder)
    typer.echo("\nFrom questions to training samples\n")
    typer.echo(render_funnel(funnel_steps(lake, profile)))
    typer.echo("\nWhat each stage gained\n")
    rows = stage_rows(lake, profile)
    typer.echo(render_stage_table(rows))
    typer.echo("\nWhat the answers are like\n")
    typer.echo(render_answer_table(rows))
    typer.echo(f"\nreport: {lake.file('stage_report.html')}")
    typer.echo("UI:     dasd ui")
