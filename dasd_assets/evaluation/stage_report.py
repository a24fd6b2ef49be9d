"""The stage report as an asset sees it: gather from lake and instance, render, publish."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from dasd_assets.evaluation import plots
from dasd_assets.evaluation.collect import funnel_steps, stage_rows
from dasd_assets.evaluation.report import (
    AssetCost,
    ExampleAnswer,
    Lineage,
    ReportData,
    ReportPlot,
    render_report,
)
from dasd_assets.evaluation.stage_table import render_stage_table
from dasd_assets.profile import Profile
from resources.lake import Lake

REPORT = "stage_report.html"
N_EXAMPLES = 3
STAGES = ("low_temperature", "high_temperature", "dasd")
PACKAGES = ("dagster", "torch", "transformers", "pyarrow", "duckdb")
DATA_VERSION_TAG = "dagster/data_version"


def write_stage_report(
    context: dg.AssetExecutionContext, lake: Lake, profile: Profile
) -> dg.MaterializeResult:
    """Render the report of everything that is in the lake and publish it as one HTML page."""
    rows = stage_rows(lake, profile)
    steps = funnel_steps(lake, profile)
    logs = {stage: _training_log(lake, stage) for stage in STAGES}
    materializations = list(_latest_materializations(context.instance))
    page = render_report(
        ReportData(
            title=f"DASD stage report: {profile.name}",
            summary={
                "profile": f"{profile.name} – {profile.description}",
                "teacher": profile.teacher.path,
                "base student": profile.base_student.path,
                "questions": f"{steps[2].n:,}",
                "answers per evaluation question": str(profile.evaluation.samples_per_question),
            },
            stage_rows=rows,
            funnel=steps,
            plots=list(_plots(lake, profile, rows, steps, logs)),
            examples=list(_examples(lake, profile)),
            costs=_costs(context.instance, materializations),
            profile=yaml.safe_dump(profile.model_dump(mode="json"), sort_keys=False),
            versions={package: version(package) for package in PACKAGES},
            lineage=[
                Lineage(
                    asset=event.asset_key.to_user_string(),
                    partition=event.partition,
                    run_id=run_id,
                    data_version=(event.tags or {}).get(DATA_VERSION_TAG, ""),
                )
                for event, run_id, _ in materializations
            ],
        )
    )
    file = lake.publish_file(REPORT, page.encode())
    overall = {
        row.checkpoint: score.avg_at_k.value
        for row in rows
        if (score := row.scores.get("overall")) is not None
    }
    return dg.MaterializeResult(
        data_version=dg.DataVersion(hashlib.sha256(page.encode()).hexdigest()[:16]),
        metadata={
            "report": dg.MetadataValue.path(str(file)),
            "stage_table": dg.MetadataValue.md(f"```\n{render_stage_table(rows)}\n```"),
            "stages": dg.MetadataValue.md(plots.to_markdown(plots.stage_bars(rows))),
            "training": dg.MetadataValue.md(plots.to_markdown(plots.training_curves(logs))),
            **{f"avg_at_k/{checkpoint}": value for checkpoint, value in overall.items()},
        },
    )


def _training_log(lake: Lake, stage: str) -> list[dict[str, float]]:
    file = lake.current_checkpoint(stage) / "training_log.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _plots(
    lake: Lake, profile: Profile, rows: Any, steps: Any, logs: dict[str, list[dict[str, float]]]
) -> Iterator[ReportPlot]:
    temperatures = list(profile.teacher_responses.temperatures)
    yield ReportPlot(
        "results", plots.to_svg(plots.stage_bars(rows)),
        "avg@k of every checkpoint, with bootstrap intervals over questions.", is_wide=True,
    )  # fmt: skip
    yield ReportPlot(
        "funnel", plots.to_svg(plots.funnel_bars(steps)), "What each step let through."
    )
    responses = {
        name: lake.read_partitions("response_provenance", temperature=name) for name in temperatures
    }
    yield ReportPlot(
        "data",
        plots.to_svg(
            plots.likelihood_density(
                {name: table["p_teacher"].to_numpy() for name, table in responses.items()}
            )
        ),
        "How sure the teacher is of its answers, per temperature (the paper's Fig. 3a).",
    )
    sentences = pa.concat_tables(
        lake.read_partitions("sentence_provenance", temperature=name) for name in temperatures
    )
    yield ReportPlot(
        "data",
        plots.to_svg(plots.class_share_by_position(plots.class_shares(sentences))),
        "Whose sentences, along the answer (the paper's Fig. 6).",
    )
    for name in temperatures:
        candidates = lake.read_partitions("divergence_candidates", temperature=name)
        score = candidates["score"].to_numpy()
        yield ReportPlot(
            "data",
            plots.to_svg(
                plots.score_distribution(
                    {
                        "all": score,
                        "selected": score[candidates["is_selected"].to_numpy()],
                        "random control": score[candidates["is_random_control"].to_numpy()],
                    },
                    f"{profile.divergence_sampling.policy} score",
                )
            ),
            f"What the policy chose at the temperature {name}, beside the random control.",
        )
    yield ReportPlot(
        "data",
        plots.to_svg(
            plots.length_distribution(
                {name: table["n_student_tokens"].to_numpy() for name, table in responses.items()},
                "student tokens",
            )
        ),
        "Lengths of the filtered answers.",
    )
    yield ReportPlot(
        "training", plots.to_svg(plots.training_curves(logs)), "Loss of the three stages.",
        is_wide=True,
    )  # fmt: skip


def _examples(lake: Lake, profile: Profile) -> Iterator[ExampleAnswer]:
    """The best-ranked selected answers of different domains, with their sentences."""
    for temperature in profile.teacher_responses.temperatures:
        sample = lake.read_partitions("divergence_sample", temperature=temperature).to_pylist()
        best: dict[str, dict[str, Any]] = {}
        for row in sorted(sample, key=lambda row: row["rank"]):
            best.setdefault(row["domain"], row)
        for row in list(best.values())[:N_EXAMPLES]:
            cell = {"temperature": temperature, "question_shard": row["question_shard"]}
            sentences = lake.read("sentence_provenance", cell)
            mine = pc.equal(sentences["response_id"], row["response_id"])
            yield ExampleAnswer(
                response_id=row["response_id"],
                question=row["question"],
                response_text=row["response_text"],
                sentences=sentences.filter(mine),
                about={
                    "domain": row["domain"],
                    "temperature": temperature,
                    "score": f"{row['score']:.2f}",
                    "rank": str(row["rank"]),
                },
            )


def _latest_materializations(
    instance: dg.DagsterInstance,
) -> Iterator[tuple[dg.AssetMaterialization, str, str]]:
    """The newest materialization of every partition of every asset, with run and step."""
    for key in sorted(instance.all_asset_keys()):
        seen: set[str | None] = set()
        cursor = None
        while True:
            page = instance.fetch_materializations(key, limit=1_000, cursor=cursor)
            for record in page.records:
                event = record.asset_materialization
                if event is not None and event.partition not in seen:
                    seen.add(event.partition)
                    yield event, record.run_id, record.event_log_entry.step_key or ""
            if not page.has_more:
                break
            cursor = page.cursor


def _costs(
    instance: dg.DagsterInstance, materializations: list[tuple[dg.AssetMaterialization, str, str]]
) -> list[AssetCost]:
    costs: dict[str, list[tuple[float, int | None]]] = {}
    for event, run_id, step in materializations:
        stats = instance.get_run_step_stats(run_id, [step]) if step else []
        seconds = sum(
            (s.end_time or 0) - s.start_time for s in stats if s.start_time and s.end_time
        )
        tokens = event.metadata.get("tokens")
        n_tokens = int(str(tokens.value)) if tokens is not None else None
        costs.setdefault(event.asset_key.to_user_string(), []).append((seconds, n_tokens))
    return [
        AssetCost(
            asset=asset,
            n_partitions=len(parts),
            seconds=sum(seconds for seconds, _ in parts),
            n_tokens=sum(n for _, n in parts if n is not None)
            if any(n is not None for _, n in parts)
            else None,
        )
        for asset, parts in costs.items()
    ]
