"""What rehearsals measured, as Markdown tables."""

from __future__ import annotations

import os

from dasd_assets.plan.measured import Totals
from formats.pages import markdown_table
from resources.compute.declared import GIB
from tools.rehearsal.measure import WORKERS, Rehearsed

MIB = 1024**2

STAGES = (
    "raw_questions", "questions", "teacher_responses", "filtered_responses", "student_scores",
    "sentence_provenance", "divergence_sample",
)  # fmt: skip
PACKED = "packed sets"


def stages(found: Rehearsed) -> str:
    """Rate, memory and disk of every stage, then of the run as a whole."""
    rows = [_stage(stage, found.of(stage)) for stage in STAGES]
    rows.append(_stage(PACKED, found.packed))
    lake = sum(found.table_bytes.values())
    beyond = (found.wall_seconds * WORKERS - found.step_seconds) / found.n_runs
    facts = {
        "questions in the inbox": f"{found.size.questions:,}",
        "answers": f"{found.of('teacher_responses').rows:,}",
        "tokens of the teacher": f"{found.of('teacher_responses').tokens / 1e6:,.1f} million",
        "wall time": f"{found.wall_seconds:,.0f} s",
        "runs": f"{found.n_runs}, {beyond:.2f} s each beyond the assets' steps",
        "peak of all processes": f"{found.run_peak_gib:.1f} GiB",
        "lake": f"{lake / MIB:,.0f} MiB",
        "Dagster's records": f"{found.dagster_bytes / MIB:,.1f} MiB, "
        f"{found.dagster_bytes / found.n_runs / 1024:,.0f} KiB a run",
        "packing efficiency": f"{found.packed.packing_efficiency:.2%}",
    }
    header = ["stage", "partitions", "rows", "s", "rows/s", "MB/s", "peak GiB", "MiB on disk"]
    return "\n\n".join(
        (
            f"**{found.size.questions:,} questions**",
            markdown_table(header, rows),
            markdown_table(["", ""], [[name, value] for name, value in facts.items()]),
            f"Load {os.getloadavg()[1]:.1f} in the last five minutes.\n",
        )
    )


def _stage(name: str, totals: Totals) -> list[str]:
    seconds = max(totals.seconds, 1e-9)
    return [
        name, f"{totals.partitions}", f"{totals.rows:,}", f"{totals.seconds:,.1f}",
        f"{totals.rows / seconds:,.0f}", f"{totals.n_bytes / 1e6 / seconds:,.1f}",
        f"{totals.peak_memory_gib:.2f}", f"{totals.n_bytes / MIB:,.1f}",
    ]  # fmt: skip


def growth(smaller: Rehearsed, larger: Rehearsed) -> str:
    """The larger over the smaller: linear where it is as much as the rows."""
    rows = []
    for stage in (*STAGES, PACKED):
        one, other = (
            found.packed if stage == PACKED else found.of(stage) for found in (smaller, larger)
        )
        rows.append([
            stage, _ratio(other.rows, one.rows), _ratio(other.seconds, one.seconds),
            _ratio(other.n_bytes, one.n_bytes), _ratio(other.peak_memory_gib, one.peak_memory_gib),
        ])  # fmt: skip
    whole = [
        "all", _ratio(larger.size.questions, smaller.size.questions),
        _ratio(larger.wall_seconds, smaller.wall_seconds),
        _ratio(sum(larger.table_bytes.values()), sum(smaller.table_bytes.values())),
        _ratio(larger.run_peak_gib, smaller.run_peak_gib),
    ]  # fmt: skip
    return markdown_table(
        [f"{larger.size.questions:,} over {smaller.size.questions:,}", "rows", "time", "disk",
         "peak memory"],
        [*rows, whole],
    ) + "\n"  # fmt: skip


def plan_against(smaller: Rehearsed, larger: Rehearsed) -> str:
    """What `dasd plan` says from the smaller about the larger, over what that took."""
    # The larger one's settings, and the smaller one's records.
    os.environ["DASD_PROFILE"] = larger.environment["DASD_PROFILE"]
    os.environ["DASD_HOME"] = smaller.environment["DASD_HOME"]
    from dasd_assets.cli.plan import make_plan
    from dasd_assets.profile import PlanSettings
    from dasd_assets.profile.home import active_profile

    # Curation is what the plan cannot know: it is told how many questions are left.
    plan = make_plan(active_profile(), PlanSettings(questions=larger.of("questions").rows))
    rows = []
    for stage in STAGES:
        told = [asset for asset in plan.assets if asset.asset == stage]
        took = larger.of(stage)
        hours = [asset.hours for asset in told if asset.hours is not None]
        rows.append([
            stage, f"{sum(asset.rows for asset in told):,}",
            _ratio(sum(asset.rows for asset in told), took.rows),
            _ratio(sum(asset.disk_bytes for asset in told), took.n_bytes),
            _ratio(sum(hours) * 3_600, took.seconds) if hours else "not reckoned",
        ])  # fmt: skip
    told_bytes = sum(asset.disk_bytes for asset in plan.assets if asset.asset in STAGES)
    lake = sum(larger.table_bytes.values())
    whole = ["the lake's main tables, GiB", f"{told_bytes / GIB:.2f}", "",
             _ratio(told_bytes, lake), ""]  # fmt: skip
    return markdown_table(
        ["plan over measured", "rows planned", "rows", "disk", "time"], [*rows, whole]
    ) + "\n"  # fmt: skip


def _ratio(above: float, below: float) -> str:
    return f"{above / below:.2f}" if below else "–"
