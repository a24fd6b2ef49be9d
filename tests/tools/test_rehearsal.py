"""`make rehearse` on a handful of questions: its tables tell what is in the lake."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from tools.rehearsal.measure import Rehearsed, rehearse
from tools.rehearsal.project import Size, make_project
from tools.rehearsal.report import PACKED, STAGES, growth, plan_against, stages

pytestmark = pytest.mark.slow

SIZE = Size(questions=60, shard_questions=60, answers=2, factor=310.0)


def cells(table: str) -> dict[str, list[str]]:
    """First column -> the other columns of every line of Markdown tables."""
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {first: rest for first, *rest in lines}


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Rehearsed:
    return rehearse(make_project(tmp_path_factory.mktemp("rehearsal") / "project", SIZE), SIZE)


def test_every_stage_is_told_with_its_rows(rehearsed: Rehearsed) -> None:
    lake = Path(rehearsed.environment["DASD_HOME"], "lake")
    shown = cells(stages(rehearsed))
    for stage in STAGES:
        ((n_rows,),) = duckdb.sql(
            f"select count(*) from read_parquet('{lake}/{stage}/**/*.parquet')"
        ).fetchall()
        assert n_rows > 0
        assert shown[stage][1] == f"{n_rows:,}", stage
        assert 0.01 < float(shown[stage][5]) < 4.0, stage
    assert shown[PACKED][1] == shown["divergence_sample"][1]
    assert 0 < rehearsed.packed.packing_efficiency <= 1
    # Raw and curated questions, four evaluation sets; per temperature itself, a cell, a sample.
    assert rehearsed.n_runs == 2 + 4 + 2 * 3


def test_a_size_beside_itself_has_grown_by_nothing_and_is_what_its_plan_says(
    rehearsed: Rehearsed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in rehearsed.environment.items():
        monkeypatch.setenv(name, value)
    for stage, ratios in cells(growth(rehearsed, rehearsed)).items():
        if stage in STAGES:
            assert ratios == ["1.00"] * 4
    planned = cells(plan_against(rehearsed, rehearsed))
    for stage in ("questions", "teacher_responses", "filtered_responses", "student_scores"):
        _, rows, disk, time = map(float, [0, *planned[stage][1:]])
        assert (rows, disk) == pytest.approx((1.0, 1.0), abs=0.02), stage
        assert time == pytest.approx(1.0, abs=0.05), stage
