"""The funnel from delivered rows to training samples."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.small_lake import make_small_lake

from dasd_assets.profile import load_profile
from dasd_assets.reporting.collect import funnel_steps
from dasd_assets.reporting.funnel import FunnelStep, ResponseCounts, funnel, render_funnel
from resources.lake.lake import Lake

RESPONSES = {
    "low": ResponseCounts(900, 800, 600, {"repetition": 80, "truncated": 40}),
    "high": ResponseCounts(1800, 1500, 800, {"tool_call": 300}, {"over_domain_quota": 700}),
}


def example(questions: int = 900) -> list[FunnelStep]:
    return funnel(
        raw_questions=990,
        quarantined={"broken_json": 7, "empty_question": 3},
        questions=questions,
        rejected_questions={"duplicate_in_drop": 90},
        responses=RESPONSES,
    )


def test_steps_carry_counts_and_reasons() -> None:
    assert [(step.name, step.temperature, step.n) for step in example()] == [
        ("delivered rows", None, 1000),
        ("usable rows", None, 990),
        ("questions", None, 900),
        ("teacher responses", "low", 900),
        ("filtered responses", "low", 800),
        ("divergence sample", "low", 600),
        ("teacher responses", "high", 1800),
        ("filtered responses", "high", 1500),
        ("divergence sample", "high", 800),
    ]
    assert example()[1].rejected == {"broken_json": 7, "empty_question": 3}
    assert example()[4].rejected == {"repetition": 80, "truncated": 40}


def test_a_step_cannot_let_through_more_than_it_got() -> None:
    with pytest.raises(ValueError, match=r"991 questions \(all\) out of 990 usable rows"):
        example(questions=991)


def test_text_shows_shares_and_losses_largest_first() -> None:
    lines = render_funnel(example()).splitlines()
    assert lines[0].split() == ["delivered", "rows", "1,000"]
    assert lines[1].split(maxsplit=4) == [
        "usable", "rows", "990", "99.0%", "lost: broken_json 7, empty_question 3",
    ]  # fmt: skip
    # More responses than questions is no share: every temperature starts afresh.
    assert lines[4].split() == ["teacher", "responses", "low", "900"]
    assert "lost: repetition 80, truncated 40" in lines[5]
    assert lines[10].split()[:5] == ["divergence", "sample", "high", "800", "53.3%"]


def test_an_empty_step_is_shown_and_no_share_is_made_up_after_it() -> None:
    steps = [FunnelStep("teacher responses", "low", 0), FunnelStep("filtered responses", "low", 0)]
    assert render_funnel(steps).splitlines()[1].split() == ["filtered", "responses", "low", "0"]
    assert render_funnel([]) == ""


def test_a_run_with_rollouts_has_their_steps_too(tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path))
    make_small_lake(lake)
    steps = funnel_steps(lake, load_profile("tiny"))
    mixed = [(step.name, step.n) for step in steps if step.temperature == "mixed policy"]
    assert mixed == [
        ("student rollouts", 2), ("usable rollouts", 2), ("cut off by the cap", 2),
        ("continued by the teacher", 2), ("mixed-policy samples", 1),
    ]  # fmt: skip
    assert "50.0%  lost: hit_max_tokens 1" in render_funnel(steps).splitlines()[-1]
    for partition in lake.partitions("student_rollouts"):
        lake.path("student_rollouts", partition).unlink()
    before = [step for step in steps if step.temperature != "mixed policy"]
    assert funnel_steps(lake, load_profile("tiny")) == before
