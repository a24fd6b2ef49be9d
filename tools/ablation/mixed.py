"""The third stage's samples of one seed: mixed-policy answers, and as many tokens without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.divergence_sampling.policies import random_order
from dasd_assets.mixed_policy_distillation.boundary import boundary_of
from dasd_assets.mixed_policy_distillation.continuations import continue_rollouts
from dasd_assets.mixed_policy_distillation.mixed_sample import off_policy_choice, off_policy_rows
from dasd_assets.mixed_policy_distillation.rollouts import sample_rollout_questions, sample_rollouts
from dasd_assets.mixed_policy_distillation.write_sample import Places, write_mixed_sample
from dasd_assets.profile import Profile
from dasd_assets.verification.graders import Graders
from resources.lake.tables.mixed_policy_distillation import MIXED_POLICY_SAMPLE
from tools.ablation.arms import ABLATION_SEED, MIXED_POLICY, OFF_POLICY
from tools.ablation.samples import facts_of, judged, publish_facts, sample_place

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from resources.engines.inference import InferenceModel
    from resources.lake.lake import Lake


def write_mixed_samples(
    store: Lake,
    profile: Profile,
    seed: int,
    *,
    checkpoint: Path,
    student: InferenceModel,
    teacher: InferenceModel,
    references: Mapping[str, str],
) -> None:
    """Roll out, continue, filter and mix, as the pipeline does, with the seed added to its own.

    Args:
        store: has the seed's samples `low` and `high`, and gets all that is made of them.
        checkpoint: the stage-2 student's.
        references: question_id -> reference answer as JSON.
    """
    settings = profile.mixed_policy
    run_seed = profile.seed + seed
    place = {ABLATION_SEED: str(seed)}
    drawn = [sample_place(seed, name) for name in ("low", "high")]
    off_policy = pa.concat_tables([store.read("divergence_sample", one) for one in drawn])
    chosen = sample_rollout_questions(off_policy, settings.rollout_questions, run_seed)
    journal = store.journal("student_rollouts", place)
    with student.open(str(checkpoint)) as engine:
        rollouts = sample_rollouts(
            chosen, engine,
            cap_ratio=settings.cap_ratio,
            temperature=settings.temperature,
            system_prompt=profile.system_prompt,
            seed=run_seed,
            journal=journal,
        )  # fmt: skip
        store.write("student_rollouts", rollouts, place)
    journal.unlink(missing_ok=True)
    journal = store.journal("teacher_continuations", place)
    with teacher.open() as engine:
        continuations = continue_rollouts(
            store.read("student_rollouts", place), engine, student.written_format(),
            min_cut_fraction=settings.min_cut_fraction,
            temperature=settings.temperature,
            max_tokens=profile.teacher_responses.max_tokens,
            system_prompt=profile.system_prompt,
            reasoning_effort=profile.teacher_responses.reasoning_effort,
            seed=run_seed,
            journal=journal,
            boundary=boundary_of(profile),
        )  # fmt: skip
        store.write("teacher_continuations", continuations, place)
    journal.unlink(missing_ok=True)
    with Graders(profile.domains, profile.verification) as graders:
        written = write_mixed_sample(
            store, student.written_format(), teacher.written_format(),
            profile.response_filtering, profile.system_prompt,
            n_off_policy=settings.off_policy_samples,
            distinct_questions=settings.distinct_questions,
            seed=run_seed,
            graders=graders,
            places=Places([place], drawn, rejected=place, sample=sample_place(seed, MIXED_POLICY)),
            references=references,
        )  # fmt: skip
        mixed = store.read("mixed_policy_sample", sample_place(seed, MIXED_POLICY))
        control = as_many_tokens(mixed, off_policy, run_seed)
        store.write("mixed_policy_sample", control, sample_place(seed, OFF_POLICY))
        counts = {
            "n_rollouts": chosen.num_rows,
            "n_truncated": written.n_mixed + written.n_rejected,
            "n_continued": written.n_mixed,
        }
        for name, sample in {MIXED_POLICY: mixed, OFF_POLICY: control}.items():
            verdicts = judged(sample, references, graders)
            own = counts if name == MIXED_POLICY else {}
            publish_facts(store, seed, name, facts_of(sample, verdicts) | own)


def as_many_tokens(mixed: pa.Table, off_policy: pa.Table, seed: int) -> pa.Table:
    """Off-policy answers in the order in which a mixed sample draws them, up to its tokens.

    Args:
        mixed: rows with the schema MIXED_POLICY_SAMPLE.
        off_policy: rows with the schema DIVERGENCE_SAMPLE.

    Returns:
        Rows with the schema MIXED_POLICY_SAMPLE.
    """
    order = np.argsort(random_order(off_policy, seed), kind="stable")
    tokens = np.cumsum(off_policy["n_student_tokens"].to_numpy()[order], dtype=np.int64)
    budget = pc.sum(mixed["n_student_tokens"]).as_py() or 0
    n_fitting = int(np.searchsorted(tokens, budget, side="right"))
    chosen = off_policy_choice(off_policy, pa.array([], pa.string()), n_fitting, seed)
    return pa.Table.from_batches(
        off_policy_rows(off_policy.to_batches(), chosen), MIXED_POLICY_SAMPLE
    )
