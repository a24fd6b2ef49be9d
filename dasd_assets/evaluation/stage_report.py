"""The stage report as an asset sees it: gather from lake and instance, render, publish."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import yaml

from dasd_assets.dagster_internals import DATA_VERSION_TAG, CheckStatus
from dasd_assets.declaring.check_outcomes import of_contracts
from dasd_assets.declaring.cost import took
from dasd_assets.declaring.declare import place
from dasd_assets.declaring.materializations import latest_materializations
from dasd_assets.declaring.pages import kept_pictures, page_link
from dasd_assets.evaluation.costs import asset_costs
from dasd_assets.evaluation.earlier_report import AS_OF, MADE_OF, NUMBERS, earlier_report, made_of
from dasd_assets.evaluation.gather_facts import gather_facts
from dasd_assets.partitions import still_there
from dasd_assets.profile import Profile
from dasd_assets.reporting.class_deltas import DELTA_HEADER, class_deltas, delta_rows
from dasd_assets.reporting.code_version import code_version
from dasd_assets.reporting.collect import funnel_steps, stage_rows, training_logs
from dasd_assets.reporting.compared import changes, report_numbers
from dasd_assets.reporting.data_quality import data_quality
from dasd_assets.reporting.diagnosis import diagnose, markdown_findings
from dasd_assets.reporting.examples import best_ranked, example_answers
from dasd_assets.reporting.figures import to_svg
from dasd_assets.reporting.graded_answers import graded_examples
from dasd_assets.reporting.pictures import run_pictures
from dasd_assets.reporting.report import (
    ExampleAnswer,
    Lineage,
    ReportData,
    ReportPlot,
    render_report,
)
from dasd_assets.reporting.stage_table import (
    StageRow,
    best_row,
    markdown_stage_table,
    render_answer_table,
)
from formats.pages import markdown_table
from resources.lake.lake import Lake
from resources.lake.warehouse import open_warehouse

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

REPORT = "stage_report.html"
N_EXAMPLES = 3
FINDINGS = "diagnosis/findings"
"""Metadata with the findings as JSON, for who prints them."""
PACKAGES = ("dagster", "torch", "transformers", "pyarrow", "duckdb")


def write_stage_report(
    context: dg.AssetExecutionContext, lake: Lake, profile: Profile
) -> dg.MaterializeResult:
    """Render the report of everything that is in the lake and publish it as one HTML page."""
    rows = stage_rows(lake, profile)
    steps = funnel_steps(lake, profile)
    logs = training_logs(lake)
    warehouse = open_warehouse(Path(lake.root))
    pictures = list(run_pictures(rows, steps, logs, warehouse, profile))
    no_provenance = profile.no_evaluation_provenance
    deltas = class_deltas(warehouse)
    findings = diagnose(gather_facts(lake, warehouse, profile, rows, logs))
    materializations = list(latest_materializations(context.instance))
    graph = context.repository_def.asset_graph
    # An earlier report is no part of what this one shows.
    sources = [key for key in graph.toposorted_asset_keys if key != context.asset_key]
    groups = {key: graph.get(key).group_name for key in sources}
    is_there = still_there(profile, context.instance)
    shown = [
        made
        for made in materializations
        if made[0].asset_key in groups and is_there(made[0].partition)
    ]
    lineage = [
        Lineage(
            asset=event.asset_key.to_user_string(),
            partition=event.partition,
            run_id=run_id,
            data_version=(event.tags or {}).get(DATA_VERSION_TAG, ""),
        )
        for event, run_id, *_ in shown
    ]
    as_of = _date(max((time for *_, time in shown), default=None))
    names = {key.to_user_string() for key in groups}
    quality = data_quality(
        (
            one.key.asset_key.to_user_string(), one.key.name, one.partition,
            one.status is CheckStatus.PASSED, severity,
        )
        for one, severity in of_contracts(context.instance, profile, names)
    )  # fmt: skip
    numbers = report_numbers(rows, steps, quality)
    sources_version = made_of((each.asset, each.partition, each.data_version) for each in lineage)
    earlier = earlier_report(context.instance, context.asset_key, sources_version)
    page = render_report(
        ReportData(
            title=f"DASD stage report: {profile.name}",
            summary={
                "profile": f"{profile.name} – {profile.description}",
                "teacher": profile.teacher.path if profile.teacher else "none",
                "base student": profile.base_student.path,
                "questions": f"{steps[2].n:,}",
                "answers per evaluation question": str(profile.evaluation.samples_per_question),
                **(
                    {"no provenance of the checkpoints' answers": no_provenance}
                    if no_provenance
                    else {}
                ),
                **(
                    {"no mixed-policy distillation": profile.no_mixed_policy}
                    if profile.no_mixed_policy
                    else {}
                ),
            },
            stage_rows=rows,
            funnel=steps,
            plots=[
                ReportPlot(
                    picture.section, to_svg(picture.figure), picture.caption, picture.is_wide
                )
                for picture in pictures
            ],
            examples=list(_examples(warehouse, profile)),
            graded=_graded(warehouse, rows, profile),
            class_deltas=deltas,
            costs=asset_costs((event for event, *_ in materializations), groups),
            profile=yaml.safe_dump(profile.model_dump(mode="json"), sort_keys=False),
            versions=_versions(),
            lineage=lineage,
            as_of=as_of,
            findings=findings,
            quality=quality,
            compared_with=earlier.date if earlier else "",
            changes=changes(earlier.numbers, numbers) if earlier else (),
        )
    )
    file = lake.publish_page(REPORT, page.encode())
    provenance = (
        {"no_evaluation_provenance": no_provenance}
        if no_provenance
        else {"class_deltas": dg.MetadataValue.md(markdown_table(DELTA_HEADER, delta_rows(deltas)))}
    )
    best = best_row(rows)
    overall = {
        row.checkpoint: score.avg_at_k.value
        for row in rows
        if (score := row.scores.get("overall")) is not None
    }
    return dg.MaterializeResult(
        data_version=dg.DataVersion(hashlib.sha256(page.encode()).hexdigest()[:16]),
        metadata={
            "report": page_link(REPORT),
            "report_file": place(lake, file),
            **took(),
            "diagnosis": dg.MetadataValue.md(markdown_findings(findings)),
            **({"best_stage": best.checkpoint} if best else {}),
            "stage_table": dg.MetadataValue.md(markdown_stage_table(rows)),
            "answers": dg.MetadataValue.md(f"```\n{render_answer_table(rows)}\n```"),
            **provenance,
            **kept_pictures(lake, REPORT, {each.name: each.figure for each in pictures}),
            **{f"avg_at_k/{checkpoint}": value for checkpoint, value in overall.items()},
            FINDINGS: dg.MetadataValue.json([asdict(each) for each in findings]),
            AS_OF: as_of,
            MADE_OF: sources_version,
            NUMBERS: dg.MetadataValue.json(numbers),
        },
    )


def _date(seconds: float | None) -> str:
    """When the newest of the data was made: the same for the same data, as a clock is not."""
    if seconds is None:
        return "unknown"
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _versions() -> dict[str, str]:
    return {
        "code": str(code_version()),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def _examples(warehouse: DuckDBPyConnection, profile: Profile) -> Iterator[ExampleAnswer]:
    """The best-ranked selected answers of different domains, with their sentences."""
    for temperature in profile.teacher_responses.temperatures:
        chosen = best_ranked(warehouse, temperature, N_EXAMPLES)
        yield from example_answers(warehouse, chosen, temperature)


def _graded(
    warehouse: DuckDBPyConnection, rows: list[StageRow], profile: Profile
) -> list[dict[str, Any]]:
    """Right and wrong answers of the last checkpoint that was evaluated."""
    measured = [row.checkpoint for row in rows if any(row.scores.values())]
    benchmarks = list(profile.evaluation.benchmarks)
    return graded_examples(warehouse, measured[-1], benchmarks) if measured else []
