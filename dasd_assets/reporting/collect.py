"""What the report and the terminal summary show, gathered from the lake."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.profile import Profile
from dasd_assets.profile.checkpoints import checkpoints_of
from dasd_assets.reporting.funnel import FunnelStep, ResponseCounts, funnel
from dasd_assets.reporting.metrics import COUNTED, Bootstrap, benchmark_scores, question_counts
from dasd_assets.reporting.mixed_policy_funnel import mixed_policy_steps
from dasd_assets.reporting.stage_table import StageRow, stage_table
from formats.checkpoint_folder import LOG
from resources.lake.table import ContractError
from resources.lake.tables.evaluation import CHECKPOINTS
from resources.lake.warehouse import open_warehouse

if TYPE_CHECKING:
    from resources.lake.lake import Lake

STAGES = CHECKPOINTS[1:]
"""Checkpoints that are trained here: all but the base student."""


def stage_rows(lake: Lake, profile: Profile) -> list[StageRow]:
    """The paper's Table 7 for what is in the lake: every checkpoint on every evaluation set."""
    settings = profile.evaluation
    return stage_table(
        lake.read_partitions("evaluation", list(COUNTED)),
        list(settings.benchmarks),
        checkpoints=checkpoints_of(profile),
        bootstrap=Bootstrap(settings.confidence, settings.bootstrap_resamples, profile.seed),
    )


def answer_summary(lake: Lake, partition: Mapping[str, str]) -> dict[str, float]:
    """What the answers of one checkpoint to one evaluation set are like, in a few numbers."""
    counts = question_counts(lake.read("evaluation", partition, list(COUNTED)))
    (score,) = benchmark_scores(counts).values()
    return {
        "avg_at_k": score.avg_at_k.value,
        "avg_at_k_low": score.avg_at_k.low,
        "avg_at_k_high": score.avg_at_k.high,
        **{f"pass_at_{j}": value for j, value in score.pass_at.items()},
        "truncated_share": score.truncated_share,
        "no_answer_share": score.no_answer_share or 0.0,
        "mean_tokens": score.mean_tokens,
    }


def funnel_steps(lake: Lake, profile: Profile, left_out: Collection[str] = ()) -> list[FunnelStep]:
    """Questions → responses → filtered → selected, rollouts → mixed, with what was lost and why.

    Args:
        left_out: question_shards that are not counted; no sample has rows of them.
    """
    steps = funnel(
        raw_questions=len(shard_column(lake, "raw_questions", "line", left_out)),
        quarantined=_count(lake, "quarantined_rows", "reason", left_out),
        questions=len(shard_column(lake, "questions", "question_id", left_out)),
        rejected_questions=_count(lake, "rejected_questions", "reason", left_out),
        responses={
            temperature: _responses(lake, temperature, left_out)
            for temperature in profile.teacher_responses.temperatures
        },
    )
    if profile.no_mixed_policy or not lake.partitions("student_rollouts"):
        return steps
    return steps + mixed_policy_steps(open_warehouse(Path(lake.root)))


def training_logs(lake: Lake) -> dict[str, list[dict[str, float]]]:
    """Log entries of every stage that has been trained, in the order of the stages."""
    logs = {}
    for stage in STAGES:
        with suppress(ContractError):
            file = lake.checkpoint_file(stage, LOG)
            logs[stage] = [
                json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()
            ]
    return logs


def _responses(lake: Lake, temperature: str, left_out: Collection[str]) -> ResponseCounts:
    where = {"temperature": temperature}
    rejected = shard_column(lake, "rejected_responses", "broken_rules", left_out, **where)
    decisions = _count(lake, "divergence_candidates", "decision", **where)
    return ResponseCounts(
        sampled=len(shard_column(lake, "teacher_responses", "response_id", left_out, **where)),
        filtered=len(shard_column(lake, "filtered_responses", "response_id", left_out, **where)),
        selected=decisions.pop("selected", 0),
        broken_rules=Counter(broken["rule"] for rules in rejected.to_pylist() for broken in rules),
        not_selected=decisions,
    )


def shard_column(
    lake: Lake, table: str, column: str, left_out: Collection[str] = (), **where: str
) -> pa.ChunkedArray:
    """A column of all partitions with the given keys, but of those of some question_shards."""
    rows = lake.read_partitions(table, [column], **where)
    if left_out and "question_shard" in rows.column_names:
        shards = pa.array(sorted(left_out), pa.string())
        rows = rows.filter(pc.invert(pc.is_in(rows["question_shard"], shards)))
    return rows[column]


def _count(
    lake: Lake, table: str, column: str, left_out: Collection[str] = (), **where: str
) -> dict[str, int]:
    values = shard_column(lake, table, column, left_out, **where)
    return {row["values"]: row["counts"] for row in values.value_counts().to_pylist()}
