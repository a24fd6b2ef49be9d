"""Keys of the steps: what shapes a result changes its key, and only what depends on it."""

from __future__ import annotations

from typing import Any

from dasd_assets.profile import Profile, load_profile
from tools.ablation.arms import ARMS, BASE, DRAWS
from tools.ablation.steps import MIXED_SAMPLES, Step, steps_of, training_of

TINY = load_profile("tiny")
SAMPLES = {name: f"rows of {name}" for name in DRAWS}


def steps(profile: Profile = TINY, seed: int = 0, **changes: Any) -> dict[str, Step]:
    settings: dict[str, Any] = {
        "arms": ARMS, "samples": SAMPLES, "base": "b", "teacher": "t", "questions": "q", **changes
    }  # fmt: skip
    return {step.name: step for step in steps_of(profile, seed, **settings)}


def changed(other: dict[str, Step]) -> set[str]:
    """Steps whose weights or rows are others."""
    return {name for name, step in steps().items() if other[name].key != step.key}


def test_each_step_stands_behind_what_it_needs() -> None:
    names = list(steps())
    assert names[0] == BASE and MIXED_SAMPLES in names
    for place, step in enumerate(steps().values()):
        assert set(step.needs) <= set(names[:place])
    assert steps()["mixed_policy"].needs == ("low_to_high", MIXED_SAMPLES)
    assert steps()["low_to_high"].start_key == steps()["low"].key


def test_without_mixed_arms_no_rollouts() -> None:
    assert list(steps(arms=ARMS[:2])) == [BASE, "low", "low_share"]


def test_no_two_results_have_the_same_key() -> None:
    keys = [step.record_key for seed in range(3) for step in steps(seed=seed).values()]
    assert len(set(keys)) == len(keys)


def test_a_changed_sample_changes_what_was_trained_on_it_and_what_starts_there() -> None:
    assert changed(steps(samples=SAMPLES | {"low_random": "others"})) == {"low_random"}
    after_low = {
        "low", "low_to_high", "high_to_low", MIXED_SAMPLES, "mixed_policy",
        "mixed_policy_masked", "off_policy",
    }  # fmt: skip
    assert changed(steps(samples=SAMPLES | {"low": "others"})) == after_low


def test_a_changed_teacher_changes_what_it_continued() -> None:
    mixed = {MIXED_SAMPLES, "mixed_policy", "mixed_policy_masked", "off_policy"}
    assert changed(steps(teacher="another")) == mixed
    fewer = TINY.mixed_policy_distillation.model_copy(update={"rollout_questions": 5})
    assert changed(steps(TINY.model_copy(update={"mixed_policy_distillation": fewer}))) == mixed


def test_more_answers_are_asked_of_the_same_weights() -> None:
    settings = TINY.evaluation.model_copy(update={"samples_per_question": 8})
    other = steps(TINY.model_copy(update={"evaluation": settings}))
    assert changed(other) == set()
    assert all(
        other[name].record_key != step.record_key
        for name, step in steps().items()
        if name != MIXED_SAMPLES
    )


def test_the_mask_is_a_setting_like_any_other() -> None:
    assert steps()["mixed_policy"].key != steps()["mixed_policy_masked"].key


def test_the_seed_is_added_to_the_trainings_own() -> None:
    low, mixed = ARMS[0], next(arm for arm in ARMS if arm.name == "mixed_policy")
    assert training_of(low, TINY, 3).seed == TINY.temperature_scheduled_learning.seed + 3
    settings = TINY.mixed_policy_distillation.training
    assert training_of(mixed, TINY, 3) == settings.model_copy(update={"seed": settings.seed + 3})
