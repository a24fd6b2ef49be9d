"""A profile whose plan can be reckoned by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from dasd_assets.plan.answers import Candidates
from dasd_assets.plan.measured import Measured
from dasd_assets.plan.pipeline import Plan, plan_pipeline
from dasd_assets.plan.quantities import Quantities
from dasd_assets.plan.sizes import Sizes
from dasd_assets.profile import PROFILE_FOLDER, ModelShape, PlanSettings, Profile, load_profile

ANNOUNCED = Sizes((), {"": 100}, {"math": 48})
"""100 questions that are in no shard yet."""

SHAPE = ModelShape(
    parameters=1e6, layers=2, heads=4, kv_heads=2, head_dim=8, hidden_size=32, vocab_size=100
)

FIGURES = {
    "mean_prompt_tokens": 50, "mean_answer_tokens": {"low": 100, "high": 200}, "kept_share": 0.9,
    "truncated_share": 0.25, "mean_sentence_tokens": 10, "packing_efficiency": 0.8,
    "mean_evaluation_tokens": 300, "teacher_tokens_per_second": 1000,
    "student_tokens_per_second": 500, "scoring_tokens_per_second": 4000,
    "training_tokens_per_second": 2000, "price_per_gpu_hour": 3,
}  # fmt: skip


def small_profile(**changes: Any) -> Profile:
    """The tiny profile with round numbers; sections are replaced key by key."""
    settings = yaml.safe_load((PROFILE_FOLDER / "tiny.yaml").read_text(encoding="utf-8"))
    settings["teacher_responses"]["samples_per_question"] = {"low": 2, "high": 3}
    settings["divergence_sampling"] |= {
        "budget_samples": {"low": 150, "high": 400}, "max_answers_per_question": 2,
    }  # fmt: skip
    settings["temperature_scheduled_learning"] |= {"micro_batch_size": 1, "processes": 2}
    settings["mixed_policy_distillation"] |= {"rollout_questions": 60, "off_policy_samples": 20}
    settings["evaluation"]["benchmarks"] = {
        "math": {"path": "tiny_world/benchmarks/math.jsonl", "max_tokens": 320}
    }
    for name, gpus in {"teacher_inference": 4, "student_inference": 2, "training": 2}.items():
        settings["compute"][name]["gpus"] = gpus
    settings["plan"] = dict(FIGURES)
    for section, values in changes.items():
        settings[section] = {**settings.get(section, {}), **values}
    return Profile.model_validate(settings)


def quantities(
    profile: Profile, options: PlanSettings | None = None, measured: Measured | None = None
) -> Quantities:
    """Quantities of a profile, with nothing given or measured unless said."""
    return Quantities(profile, options or PlanSettings(), measured or {}, SHAPE, SHAPE)


def candidates(
    profile: Profile, asked: Quantities, questions: Mapping[str, int]
) -> dict[str, Candidates]:
    """Answers to questions of each domain at both temperatures."""
    return {t: Candidates(profile, questions, asked, t) for t in ("low", "high")}


def planned_as_announced(name: str) -> Plan:
    """The plan of a shipped profile from its own section `plan` alone, on an empty large disk."""
    profile = load_profile(name)
    return plan_pipeline(
        profile, Sizes((), announced(profile), {}), PlanSettings(), {},
        profile.plan.teacher, profile.plan.base_student, 10**15, profile.plan.students,
    )  # fmt: skip


def announced(profile: Profile) -> dict[str, int]:
    """Domain -> questions of a profile's section `plan`."""
    assert isinstance(profile.plan.questions, dict)
    return dict[str, int](profile.plan.questions.items())
