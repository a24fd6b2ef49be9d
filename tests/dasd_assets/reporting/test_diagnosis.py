"""The diagnosis over measured numbers: what the rules say of the first tiny world, and of none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.old_world import OLD_WORLD, gain

from dasd_assets.reporting.diagnosis import (
    NOTHING_FOUND,
    RULES,
    Finding,
    diagnose,
    markdown_findings,
    render_findings,
)
from dasd_assets.reporting.loss_course import LossCourse, loss_course
from dasd_assets.reporting.run_facts import RunFacts


def test_the_old_worlds_loss_and_its_causes_are_named_with_their_numbers() -> None:
    found = {each.rule: each for each in reversed(diagnose(OLD_WORLD))}
    assert list(found)[::-1] == [
        "stage_lost", "wrong_training_answers", "temperature_brings_errors",
        "selection_prefers_errors", "more_cut_off", "too_few_questions",
    ]  # fmt: skip
    lost = found["stage_lost"].finding
    assert lost.startswith("high_temperature is worse than low_temperature: 50.8%")
    assert "before 59.4% (-8.6 points, interval -12.7 to -4.5, p < 0.001, 192 questions)" in lost
    assert "`release.checkpoint: best`" in found["stage_lost"].advice
    wrong = found["wrong_training_answers"]
    assert wrong.finding.startswith("23% of the answers that high (T = 1) gives to training are")
    assert "77% of 671 judged ones are right" in wrong.finding
    assert "verify_domains: [math, science, instruction_following]" in wrong.advice
    errors = found["temperature_brings_errors"].finding
    assert errors.startswith("79% of the answers at high (T = 1) are right, 95% of those at low")


def test_a_last_stage_that_lost_on_its_own_beginnings_is_told_to_mask_them() -> None:
    *first, dasd = OLD_WORLD.stages
    lost = replace(dasd, gain=gain("high_temperature", "dasd", (-2.2, -4.4, -0.1), 0.046))
    facts = replace(OLD_WORLD, stages=(*first, lost))
    (found,) = [each for each in diagnose(facts) if each.rule == "mixed_policy_lost"]
    assert found.finding.startswith("35% of the answers that dasd was trained on begin with what")
    assert "mask_student_prefix: true" in found.advice


def test_no_facts_are_no_findings() -> None:
    assert diagnose(RunFacts({}, ())) == []
    assert render_findings([]) == markdown_findings([]) == NOTHING_FOUND


def test_findings_are_told_with_their_advice() -> None:
    found = [Finding("rule", "It is so.", "Do this.")]
    assert render_findings(found) == "- It is so.\n  → Do this."
    assert markdown_findings(found) == "- **It is so.** Do this."


def test_every_rule_has_a_name_of_its_own() -> None:
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert all(rule.condition.__doc__ for rule in RULES)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([], None),
        ([1.0], None),
        ([1.0, float("nan")], None),
        ([2.0, 1.0], LossCourse(2.0, 2.0, 1.0, 1.0)),
        ([4.0, 3.0, 3.0, 2.0, 2.0], LossCourse(4.0, 2.0, 2.0, 0.5**0.5)),
        ([1.0, 3.0] * 5, LossCourse(2.0, 2.0, 2.0, 2.0**0.5)),
        ([1.0] * 4, LossCourse(1.0, 1.0, 1.0, 0.0)),
    ],
)
def test_a_loss_is_looked_at_in_fifths(losses: list[float], expected: LossCourse | None) -> None:
    found = loss_course(losses)
    assert found == (expected and replace(expected, error=pytest.approx(expected.error)))


def test_a_rise_is_told_in_standard_errors() -> None:
    course = LossCourse(first=1.0, before_last=2.0, last=1.5, error=0.25)
    assert course.rise(course.first) == 2
    assert course.rise(course.before_last) == -2
    assert LossCourse(1.0, 1.0, 1.0, 0.0).rise(1.0) == 0
    assert LossCourse(1.0, 1.0, 2.0, 0.0).rise(1.0) == float("inf")
