"""The work of the ablation in steps, each with a key of all that shapes what it makes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dasd_assets.profile import Profile, settings_version
from tools.ablation.arms import (
    ABLATION_SEED,
    BASE,
    EVALUATED_AT,
    MIXED_POLICY,
    OFF_POLICY,
    ROLLOUT_STUDENT,
    Arm,
)
from training.settings import Training

if TYPE_CHECKING:
    from resources.lake.lake import Lake

VERSION: Final = "2"
"""Of what the steps make of the same settings and rows, training and evaluation included."""

MIXED_SAMPLES: Final = "mixed_samples"
"""The step that makes the samples MIXED_POLICY and OFF_POLICY."""


@dataclass(frozen=True)
class Step:
    """An arm, the base student's evaluation or the mixed samples, for one seed.

    Attributes:
        arm: None for the mixed samples and for the base student.
        key: hash of what shapes the weights (of an arm), or the rows (of the mixed samples).
        record_key: hash of what shapes the results.
        start_key: `key` of the arm whose checkpoint this step starts from; empty: the base student.
        needs: names of the same seed's steps that come before.
    """

    seed: int
    name: str
    arm: Arm | None
    key: str
    record_key: str
    start_key: str = ""
    needs: tuple[str, ...] = ()


def steps_of(
    profile: Profile,
    seed: int,
    arms: Sequence[Arm],
    samples: Mapping[str, str],
    *,
    base: str,
    teacher: str,
    questions: str,
) -> list[Step]:
    """All steps of a seed; each stands behind those that it needs.

    Args:
        samples: name -> hash of its rows, for all that are drawn.
        base, teacher: content hashes of the models.
        questions: hash of the evaluation sets.
    """
    settings = profile.evaluation
    evaluation = (
        settings.samples_per_question, EVALUATED_AT, settings.top_p,
        {name: each.max_tokens for name, each in settings.benchmarks.items()},
        profile.verification, questions, profile.system_prompt, profile.seed + seed,
    )  # fmt: skip
    keys = {BASE: settings_version(VERSION, base)}
    steps = [Step(seed, BASE, None, keys[BASE], settings_version(keys[BASE], *evaluation))]
    samples = dict(samples)
    for arm in arms:
        needs = () if arm.starts_from == BASE else (arm.starts_from,)
        if arm.sample in (MIXED_POLICY, OFF_POLICY):
            needs = (*needs, MIXED_SAMPLES)
            if arm.sample not in samples:
                key = _mixed_key(profile, seed, samples, keys[ROLLOUT_STUDENT], teacher)
                samples |= {MIXED_POLICY: key, OFF_POLICY: key}
                steps.append(
                    Step(seed, MIXED_SAMPLES, None, key, key, keys[ROLLOUT_STUDENT],
                         (ROLLOUT_STUDENT,))
                )  # fmt: skip
        keys[arm.name] = settings_version(
            keys[arm.starts_from], arm.sample, samples[arm.sample],
            training_of(arm, profile, seed).shaping(),
            profile.system_prompt, arm.mask_student_prefix,
        )  # fmt: skip
        start_key = "" if arm.starts_from == BASE else keys[arm.starts_from]
        record_key = settings_version(keys[arm.name], *evaluation)
        steps.append(Step(seed, arm.name, arm, keys[arm.name], record_key, start_key, needs))
    return steps


def _mixed_key(
    profile: Profile, seed: int, samples: Mapping[str, str], student: str, teacher: str
) -> str:
    settings = profile.mixed_policy.model_dump(
        mode="json", exclude={"training", "mask_student_prefix"}
    )
    return settings_version(
        VERSION, student, teacher, samples["low"], samples["high"], settings,
        profile.response_filtering, profile.teacher_responses.max_tokens,
        profile.teacher_responses.reasoning_effort, profile.system_prompt, profile.seed + seed,
    )  # fmt: skip


def training_of(arm: Arm, profile: Profile, seed: int) -> Training:
    """The profile's settings of the arm's stage, with the seed added to its own."""
    section = getattr(profile, arm.settings)
    training: Training = section if isinstance(section, Training) else section.training
    return training.model_copy(update={"seed": training.seed + seed})


def checkpoint_folder(store: Lake, seed: int, arm: str, key: str) -> Path:
    """Where an arm's weights are."""
    return store.checkpoint_folder(f"seed-{seed}/{arm}", key)


def evaluation_place(step: Step, benchmark: str, temperature: float) -> dict[str, str]:
    """Partition of a step's answers to one evaluation set at one temperature."""
    return {
        ABLATION_SEED: str(step.seed), "checkpoint": step.name, "benchmark": benchmark,
        "evaluated_at": f"{temperature:g}",
    }  # fmt: skip


def record(store: Lake, step: Step) -> dict[str, Any] | None:
    """What a step left behind when it was finished; None if it has to be done (again)."""
    try:
        text = Path(store.root, _record_name(step)).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    found: dict[str, Any] = json.loads(text)
    return found if found["record_key"] == step.record_key else None


def write_record(store: Lake, step: Step, content: Mapping[str, Any]) -> None:
    """Say that a step is finished; written when all else is on the disk."""
    made = {"record_key": step.record_key, **content}
    store.publish_file(_record_name(step), json.dumps(made, indent=1).encode())


def _record_name(step: Step) -> str:
    return f"records/seed-{step.seed}/{step.name}.json"
