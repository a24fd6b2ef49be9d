"""What a person sees at the end of a run: stage table, funnel, report, next command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dasd_assets.profile import Profile
from dasd_assets.profile.open_lake import open_lake
from dasd_assets.reporting.collect import funnel_steps, stage_rows
from dasd_assets.reporting.diagnosis import Finding, render_findings
from dasd_assets.reporting.funnel import render_funnel
from dasd_assets.reporting.stage_table import render_answer_table, render_stage_table

if TYPE_CHECKING:
    import dagster as dg


def print_summary(profile: Profile, folder: Path, instance: dg.DagsterInstance) -> None:
    """Print what the lake holds, in the order of the paper's tables."""
    lake = open_lake(profile, folder)
    typer.echo("\nFrom questions to training samples\n")
    typer.echo(render_funnel(funnel_steps(lake, profile)))
    typer.echo("\nWhat each stage gained\n")
    rows = stage_rows(lake, profile)
    typer.echo(render_stage_table(rows))
    typer.echo("\nWhat the answers are like\n")
    typer.echo(render_answer_table(rows))
    findings = newest_findings(instance)
    if findings is not None:
        typer.echo("\nWhat happened, and what to try\n")
        typer.echo(render_findings(findings))
    typer.echo(f"\nreport: {lake.file('stage_report.html')}")
    typer.echo("UI:     make ui  (or `dasd ui`)")


def newest_findings(instance: dg.DagsterInstance) -> list[Finding] | None:
    """The diagnosis of the newest stage report, as it stands on its page; None if there is none."""
    import dagster as dg

    from dasd_assets.evaluation.stage_report import FINDINGS

    event = instance.get_latest_materialization_event(dg.AssetKey("stage_report"))
    made = event.asset_materialization if event is not None else None
    if made is None or FINDINGS not in made.metadata:
        return None
    found = made.metadata[FINDINGS].value
    assert isinstance(found, list)
    return [Finding(**each) for each in found]
