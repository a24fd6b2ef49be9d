"""The third stage's samples of one seed: mixed-policy answers, and as many tokens without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.divergence_sampling.policies import random_order
from dasd_assets.mixed_policy_distillation.continuations import continue_rollouts
from dasd_assets.mixed_policy_distillation.mixed_sample import finish_continuations, mix
from dasd_assets.mixed_policy_distillation.rollouts import sample_rollout_questions, sample_rollouts
from dasd_assets.profile import Profile
from dasd_assets.response_filtering.judging import Judge
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
    settings = profile.mixed_policy_distillation
    run_seed = profile.seed + seed
    place = {ABLATION_SEED: str(seed)}
    drawn = [store.read("divergence_sample", sample_place(seed, name)) for name in ("low", "high")]
    off_policy = pa.concat_tables(drawn)
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
            store.read("student_rollouts", place), engine, student.tokenizer(),
            min_cut_fraction=settings.min_cut_fraction,
            temperature=settings.temperature,
            max_tokens=profile.teacher_responses.max_tokens,
            system_prompt=profile.system_prompt,
            reasoning_effort=profile.teacher_responses.reasoning_effort,
            seed=run_seed,
            journal=journal,
        )  # fmt: skip
        store.write("teacher_continuations", continuations, place)
    journal.unlink(missing_ok=True)
    finished = finish_continuations(
        store.read("teacher_continuations", place),
        student.tokenizer(), profile.response_filtering, profile.system_prompt,
        Judge(profile.response_filtering, references, profile.verification),
    )  # fmt: skip
    store.write("rejected_continuations", finished.rejected, place)
    mixed = mix(
        finished.kept, off_policy, settings.off_policy_samples, run_seed,
        distinct_questions=settings.distinct_questions,
    )  # fmt: skip
    samples = {MIXED_POLICY: mixed, OFF_POLICY: as_many_tokens(mixed, off_policy, run_seed)}
    counts = {
        "n_rollouts": chosen.num_rows,
        "n_truncated": finished.kept.num_rows + finished.rejected.num_rows,
        "n_continued": finished.kept.num_rows,
    }
    for name, sample in samples.items():
        store.write("mixed_policy_sample", sample, sample_place(seed, name))
        verdicts = judged(sample, references, profile.verification)
        own = counts if name == MIXED_POLICY else {}
        publish_facts(store, seed, name, facts_of(sample, verdicts) | own)


def as_many_tokens(mixed: pa.Table, off_policy: pa.Table, seed: int) -> pa.Table:
    """Off-policy answers in the order in which `mix` draws them, up to the tokens of `mixed`.

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
    return mix(mixed.slice(0, 0), off_policy, n_fitting, seed)
