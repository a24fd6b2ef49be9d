"""Mixed-policy distillation: the student's own answers, finished by the teacher (section 5)."""

from pathlib import Path

import dagster as dg

from dasd_assets.answering.earlier import SAMPLED
from dasd_assets.answering.template_date import date_shown, template_date
from dasd_assets.declaring.declare import declared, log_progress, materialized
from dasd_assets.mixed_policy_distillation.boundary import boundary_of
from dasd_assets.mixed_policy_distillation.continuations import continue_rollouts, read_to_continue
from dasd_assets.mixed_policy_distillation.rollouts import chosen_questions, sample_rollouts
from dasd_assets.mixed_policy_distillation.write_sample import write_mixed_sample
from dasd_assets.partitions import QUESTION_SHARD, question_shards
from dasd_assets.profile import Profile
from dasd_assets.profile.domains import shaping_graders
from dasd_assets.reporting.funnel import render_funnel
from dasd_assets.reporting.mixed_policy_funnel import (
    cut_counts,
    mixed_policy_steps,
    rollout_counts,
)
from dasd_assets.reporting.pictures import rollout_pictures
from dasd_assets.reporting.plots import funnel_bars
from dasd_assets.temperature_scheduled_learning.stage import train_stage
from dasd_assets.temperature_scheduled_learning.training_set import (
    set_declaration,
    workers_of,
    write_training_set,
)
from dasd_assets.verification.graders import Graders
from resources.compute.training_launcher import TrainingLauncher
from resources.engines.inference import InferenceModel
from resources.lake.lake import Lake
from resources.lake.warehouse import open_warehouse

GROUP = "mixed_policy_distillation"


def build(profile: Profile) -> list[dg.AssetsDefinition]:
    """Assets of the box for one profile; none where it is off or there is no teacher."""
    if profile.no_mixed_policy or profile.teacher is None:
        return []
    settings = profile.mixed_policy
    rollout_settings = (settings.rollout_questions, settings.cap_ratio, settings.temperature)
    boundary = boundary_of(profile)
    boundary_version = (boundary.segmenter.name, boundary.segmenter.version) if boundary else ()
    references = (
        [dg.AssetDep("questions", partition_mapping=dg.AllPartitionMapping())]
        if profile.response_filtering.verify_domains
        else []
    )

    @dg.asset(
        partitions_def=question_shards,
        deps=[
            "high_temperature_checkpoint",
            dg.AssetDep("divergence_sample", partition_mapping=dg.AllPartitionMapping()),
        ],
        **declared(GROUP, profile.compute.student_inference, "2", *rollout_settings,
                   profile.system_prompt, profile.seed, kinds={"huggingface"},
                   table="student_rollouts"),
    )  # fmt: skip
    def student_rollouts(
        context: dg.AssetExecutionContext, lake: Lake, base_student_model: InferenceModel
    ) -> dg.MaterializeResult:
        """The stage-2 student's own answers, each capped at 1.5 x the teacher answer's length.

        Answers that hit the cap differ substantially from the teacher's.

        ```text
        o ~ p_θ₂( · | question),   |o| ≤ cap_ratio · |teacher's answer|
        truncated(o)  ⇔  o hit the cap
        ```
        """
        shard = {QUESTION_SHARD: context.partition_key}
        chosen = chosen_questions(
            lake, context.partition_key, settings.rollout_questions, profile.seed
        )
        journal = lake.journal("student_rollouts", shard)
        with base_student_model.open(str(lake.current_checkpoint("high_temperature"))) as engine:
            rows = sample_rollouts(
                chosen, engine,
                cap_ratio=settings.cap_ratio,
                temperature=settings.temperature,
                system_prompt=profile.system_prompt,
                seed=profile.seed,
                journal=journal,
                on_progress=log_progress(context, "rollouts"),
                earlier=lake.earlier("student_rollouts", shard, ["rollout_id", *SAMPLED]),
            )  # fmt: skip
            written = lake.write("student_rollouts", rows, shard)
        journal.unlink(missing_ok=True)
        warehouse = open_warehouse(Path(lake.root))
        return materialized(
            lake, written, shard, rollout_pictures(warehouse, shard),
            **rollout_counts(warehouse, shard),
        )  # fmt: skip

    @dg.asset(
        partitions_def=question_shards,
        deps=[student_rollouts, "teacher_model"],
        **declared(GROUP, profile.compute.teacher_inference, "3", settings.min_cut_fraction,
                   settings.cut, *boundary_version, settings.temperature, profile.teacher.path,
                   profile.system_prompt, profile.seed, profile.teacher_responses.max_tokens,
                   profile.teacher_responses.reasoning_effort,
                   *profile.template_date_pinned, kinds={"huggingface"},
                   table="teacher_continuations"),
    )  # fmt: skip
    def teacher_continuations(
        context: dg.AssetExecutionContext,
        lake: Lake,
        teacher: InferenceModel,
        base_student_model: InferenceModel,
    ) -> dg.MaterializeResult:
        """Truncated rollouts, cut beyond half and continued by the teacher.

        The teacher sees the student's prefix in its own format, from exact prompt tokens.

        ```text
        c uniform over the positions beyond min_cut_fraction · |o|, before |o|
        y = o_≤c + z,   z ~ p_T( · | question, o_≤c)
        ```

        With `cut: {kind: entropy}` c is the last end of a sentence before the student starts to
        guess, where there is such a place.
        """
        shard = {QUESTION_SHARD: context.partition_key}
        journal = lake.journal("teacher_continuations", shard)
        with teacher.open() as engine:
            day = template_date(
                lake, "teacher_continuations", shard, engine.tokenizer,
                profile.template_date,
            )  # fmt: skip
            truncated = read_to_continue(lake, shard, with_logprobs=boundary is not None)
            rows = continue_rollouts(
                truncated, engine, base_student_model.written_format(),
                min_cut_fraction=settings.min_cut_fraction,
                temperature=settings.temperature,
                max_tokens=profile.teacher_responses.max_tokens,
                system_prompt=profile.system_prompt,
                reasoning_effort=profile.teacher_responses.reasoning_effort,
                seed=profile.seed,
                journal=journal,
                boundary=boundary,
                on_progress=log_progress(context, "continuations"),
                earlier=lake.earlier(
                    "teacher_continuations", shard, ["continuation_id", *SAMPLED]
                ),
                template_date=day,
            )  # fmt: skip
            written = lake.write("teacher_continuations", rows, shard)
        journal.unlink(missing_ok=True)
        warehouse = open_warehouse(Path(lake.root))
        return materialized(
            lake, written, shard,
            cuts=cut_counts(warehouse, shard),
            no_place_in_teacher_format=truncated.num_rows - written.n_rows,
            **date_shown(day),
        )  # fmt: skip

    @dg.asset(
        deps=[
            dg.AssetDep(teacher_continuations, partition_mapping=dg.AllPartitionMapping()),
            dg.AssetDep("divergence_sample", partition_mapping=dg.AllPartitionMapping()),
            *references,
        ],
        **declared(GROUP, profile.compute.data, "4", settings.off_policy_samples,
                   settings.distinct_questions, profile.response_filtering,
                   profile.verification, profile.seed,
                   *shaping_graders(profile.domains, profile.response_filtering.verify_domains),
                   kinds={"parquet"}, table="mixed_policy_sample"),
    )  # fmt: skip
    def mixed_policy_sample(
        context: dg.AssetExecutionContext,
        lake: Lake,
        teacher: InferenceModel,
        base_student_model: InferenceModel,
    ) -> dg.MaterializeResult:
        """Continuations that pass the quality filters, plus the off-policy share.

        Rejected continuations are kept in `rejected_continuations` with every rule they break.

        ```text
        sample = continuations that keep every rule + off_policy_samples of `divergence_sample`
        ```
        """
        journal = lake.journal("mixed_policy_sample")
        with Graders(profile.domains, profile.verification, journal) as graders:
            sample = write_mixed_sample(
                lake, base_student_model.written_format(), teacher.written_format(),
                profile.response_filtering, profile.system_prompt,
                n_off_policy=settings.off_policy_samples,
                distinct_questions=settings.distinct_questions,
                seed=profile.seed,
                graders=graders,
                threads=max(1, int(profile.compute.data.cpus)),
                warn=context.log.warning,
            )  # fmt: skip
        steps = mixed_policy_steps(open_warehouse(Path(lake.root)))
        return materialized(
            lake, sample.written, None, {"funnel_plot": funnel_bars(steps)},
            mixed_policy=sample.n_mixed,
            off_policy=sample.written.n_rows - sample.n_mixed,
            rejected=sample.n_rejected,
            **graders.spent,
            funnel=dg.MetadataValue.md(f"```\n{render_funnel(steps)}\n```"),
        )  # fmt: skip

    @dg.asset(
        deps=["base_student", mixed_policy_sample],
        **set_declaration(
            profile, settings.training, "dasd", "mixed_policy_training_set",
            settings.mask_student_prefix, group=GROUP,
        ),
    )  # fmt: skip
    def mixed_policy_training_set(
        context: dg.AssetExecutionContext, lake: Lake, base_student_model: InferenceModel
    ) -> dg.MaterializeResult:
        """The mixed-policy sample as the base student's tokens, packed: what stage 3 is trained on.

        Made once, its batches certified.

        ```text
        sample = prompt ‖ student's prefix ‖ teacher's continuation ‖ end token
        loss on all but the prompt; with mask_student_prefix from the continuation on
        sequence = sample ‖ sample ‖ …,   Σ tokens ≤ max_length
        ```
        """
        return write_training_set(
            context, lake,
            checkpoint="dasd",
            table="mixed_policy_training_set",
            sample=("mixed_policy_sample", "sample_id", None),
            model=base_student_model.inspect().path,
            settings=settings.training,
            system_prompt=profile.system_prompt,
            mask_student_prefix=settings.mask_student_prefix,
            format=profile.base_student.format,
            workers=workers_of(profile),
        )  # fmt: skip

    @dg.asset(
        deps=["high_temperature_checkpoint", mixed_policy_training_set],
        **declared(GROUP, profile.compute.training, "3", settings.training.shaping(),
                   settings.mask_student_prefix, profile.system_prompt,
                   kinds={"pytorch", "huggingface"}, stored="checkpoints/dasd"),
    )  # fmt: skip
    def dasd_checkpoint(
        context: dg.AssetExecutionContext,
        lake: Lake,
        trainer: TrainingLauncher,
        base_student_model: InferenceModel,
    ) -> dg.MaterializeResult:
        """Stage 3: stage 2's checkpoint, fine-tuned on the mixed-policy sample. The result.

        ```text
        θ₃ = argmin_θ  −Σ_(x,y) Σ_i log p_θ(y_i | x, y_<i),   (x, y) in the mixed sample, from θ₂
        loss on the student's prefix and the continuation, unless mask_student_prefix
        ```
        """
        return train_stage(
            context, lake, trainer,
            checkpoint="dasd",
            start=lake.current_checkpoint("high_temperature"),
            expected=base_student_model.inspect().path,
            settings=settings.training,
            format=profile.base_student.format,
        )  # fmt: skip

    return [
        student_rollouts, teacher_continuations, mixed_policy_sample, mixed_policy_training_set,
        dasd_checkpoint,
    ]  # fmt: skip
