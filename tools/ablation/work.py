"""One step of the ablation, done: trained and evaluated, or sampled; nothing is done twice."""

from __future__ import annotations

import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from dasd_assets.evaluation.evaluate import EARLIER, evaluate_checkpoint
from dasd_assets.profile import Profile
from dasd_assets.verification.graders import Graders
from formats.checkpoint_folder import LOG
from tools.ablation.arms import EVALUATED_AT, MIXED_POLICY, OFF_POLICY, ROLLOUT_STUDENT, Arm
from tools.ablation.mixed import write_mixed_samples
from tools.ablation.samples import sample_place
from tools.ablation.steps import (
    MIXED_SAMPLES,
    Step,
    checkpoint_folder,
    evaluation_place,
    record,
    training_of,
    write_record,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resources.engines.inference import InferenceModel
    from resources.lake.lake import Lake

LIBRARIES: Final = ("torch", "transformers", "accelerate", "numpy", "pyarrow")


def do_step(
    step: Step,
    *,
    store: Lake,
    profile: Profile,
    student: InferenceModel,
    teacher: InferenceModel,
    questions: Mapping[str, pa.Table],
    references: Mapping[str, str],
    commit: str,
) -> None:
    """Do a step, unless a process that outlived its launcher has done it or is at it.

    Args:
        questions: evaluation set -> rows with the schema BENCHMARK_QUESTIONS.
        references: question_id of the training questions -> reference answer as JSON.
        commit: what is running, for the record.
    """
    with store.exclusively(f"seed-{step.seed}-{step.name}", print):
        if record(store, step) is not None:
            return
        started = time.monotonic()
        if step.name == MIXED_SAMPLES:
            checkpoint = checkpoint_folder(store, step.seed, ROLLOUT_STUDENT, step.start_key)
            write_mixed_samples(
                store, profile, step.seed, checkpoint=checkpoint, student=student,
                teacher=teacher, references=references,
            )  # fmt: skip
            made: dict[str, Any] = {}
        else:
            base = student.inspect().path
            folder = base if step.arm is None else _trained(step, step.arm, store, profile, base)
            made = {"accuracies": _evaluated(step, folder, store, profile, student, questions)}
            if step.arm is not None:
                made |= _of_training(folder)
        write_record(
            store, step,
            {
                **made,
                "seconds": round(time.monotonic() - started, 1),
                "commit": commit,
                "libraries": {name: version(name) for name in LIBRARIES},
            },
        )  # fmt: skip


def _trained(step: Step, arm: Arm, store: Lake, profile: Profile, base: Path) -> Path:
    """The arm's checkpoint; a killed training goes on from its restart point."""
    from training.encode_parts import SetConfig
    from training.make_set import make_training_set
    from training.set_check import multiple_of
    from training.sft import SftConfig, train

    start = base
    if step.start_key:
        start = checkpoint_folder(store, step.seed, arm.starts_from, step.start_key)
    is_mixed = arm.sample in (MIXED_POLICY, OFF_POLICY)
    table = "mixed_policy_sample" if is_mixed else "divergence_sample"
    folder = checkpoint_folder(store, step.seed, arm.name, step.key)
    settings = training_of(arm, profile, step.seed)
    packed = SetConfig(
        model_path=str(base),
        samples=[str(store.path(table, sample_place(step.seed, arm.sample)))],
        system_prompt=profile.system_prompt,
        output_dir=str(store.keyed_folder(f"training_sets/seed-{step.seed}/{arm.name}", step.key)),
        mask_student_prefix=arm.mask_student_prefix,
        max_length=settings.max_length,
        packing=settings.packing,
        multiple_of=multiple_of(settings),
    )
    make_training_set(packed, print)
    config = SftConfig(
        **settings.model_dump(),
        model_path=str(start),
        training_set=packed.output_dir,
        output_dir=str(folder),
        expected_model_path=str(base),
    )
    train(config, print)
    return folder


def _evaluated(
    step: Step,
    folder: Path,
    store: Lake,
    profile: Profile,
    student: InferenceModel,
    questions: Mapping[str, pa.Table],
) -> dict[str, float]:
    """Answer every evaluation set at each temperature; returns the share of right answers."""
    accuracies = {}
    with (
        Graders(profile.domains, profile.verification) as graders,
        student.open(str(folder)) as engine,
    ):
        for temperature in EVALUATED_AT:
            settings = profile.evaluation.model_copy(update={"temperature": temperature})
            verdicts: list[bool] = []
            for benchmark, rows in questions.items():
                place = evaluation_place(step, benchmark, temperature)
                journal = store.journal("evaluation", place)
                answers = evaluate_checkpoint(
                    rows, engine,
                    checkpoint=step.name,
                    settings=settings,
                    system_prompt=profile.system_prompt,
                    seed=profile.seed + step.seed,
                    journal=journal,
                    graders=graders,
                    earlier=store.earlier("evaluation", place, list(EARLIER)),
                )  # fmt: skip
                store.write("evaluation", answers, place)
                journal.unlink(missing_ok=True)
                verdicts += store.read("evaluation", place, ["is_correct"])[
                    "is_correct"
                ].to_pylist()
            accuracies[f"{temperature:g}"] = sum(verdicts) / len(verdicts)
    return accuracies


def _of_training(folder: Path) -> dict[str, Any]:
    lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    last = json.loads(lines[-1])
    return {"steps": last["step"], "final_loss": last["loss"], "training_seconds": last["seconds"]}
