"""Evaluation: avg@k of the base student and of every checkpoint (paper section 7.3)."""

from pathlib import Path

import dagster as dg

from dasd_assets.answering.template_date import date_shown, template_date
from dasd_assets.declaring.declare import declared, log_progress, materialized
from dasd_assets.divergence_sampling.sentences import segmenter_named
from dasd_assets.evaluation.evaluate import EARLIER, evaluate_checkpoint
from dasd_assets.evaluation.provenance import TEACHER_COLUMNS, answer_provenance
from dasd_assets.evaluation.stage_report import REPORT, write_stage_report
from dasd_assets.evaluation.teacher_scoring import left_out, read_answers, score_answers
from dasd_assets.models.students import resource_of
from dasd_assets.partitions import benchmarks
from dasd_assets.profile import Profile
from dasd_assets.profile.checkpoints import checkpoints_of
from dasd_assets.profile.domains import shaping_graders
from dasd_assets.reporting.collect import answer_summary
from dasd_assets.reporting.pictures import answer_pictures
from dasd_assets.verification.graders import Graders
from resources.engines.inference import InferenceModel
from resources.lake.lake import Lake
from resources.lake.tables.evaluation import CHECKPOINTS

GROUP = "evaluation"

CHECKPOINT_ASSETS = {
    CHECKPOINTS[0]: "base_student",
    **{checkpoint: f"{checkpoint}_checkpoint" for checkpoint in CHECKPOINTS[1:]},
}
"""Evaluated checkpoint -> the asset it comes from."""


def build(profile: Profile) -> list[dg.AssetsDefinition]:
    """Assets of the box for one profile."""
    evaluations = [
        _evaluation(profile, checkpoint, asset, trained=checkpoint != "base")
        for checkpoint, asset in CHECKPOINT_ASSETS.items()
        if checkpoint in checkpoints_of(profile)
    ]
    others = [each for name in profile.students for each in _before_and_after(profile, name)]
    provenances: list[dg.AssetsDefinition] = []
    if profile.no_evaluation_provenance is None:
        for checkpoint in checkpoints_of(profile)[1:]:
            provenances += [_teacher_scores(profile, checkpoint), _provenance(profile, checkpoint)]

    @dg.asset(
        deps=[
            *(
                dg.AssetDep(asset, partition_mapping=dg.AllPartitionMapping())
                for asset in (*evaluations, *provenances[1::2])
            ),
        ],
        **declared(GROUP, profile.compute.data, "4", profile, kinds={"html"}, stored=REPORT),
    )
    def stage_report(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult:
        """What each stage gained: the paper's Table 7 for this run, funnel, plots, cost.

        One self-contained HTML page below the lake's root.

        ```text
        gain = avg@k(stage) − avg@k(stage before), paired over questions
        interval: bootstrap over questions;   p: sign-flip test
        ```
        """
        return write_stage_report(context, lake, profile)

    return [*evaluations, *others, *provenances, stage_report]


def _before_and_after(profile: Profile, student: str) -> list[dg.AssetsDefinition]:
    """A further student untrained, as `<name>_base`, and trained on the sample."""
    model = resource_of(student)
    return [
        _evaluation(profile, f"{student}_base", f"student_model/{student}", model, trained=False),
        _evaluation(profile, student, f"student_checkpoint/{student}", model),
    ]


def _evaluation(
    profile: Profile,
    checkpoint: str,
    asset: str,
    model: str = "base_student_model",
    *,
    trained: bool = True,
) -> dg.AssetsDefinition:
    """One asset per checkpoint, so that a new checkpoint leaves the others' results alone.

    Args:
        asset: what the checkpoint comes from.
        model: resource whose engine runs it.
        trained: it is the lake's; else it is the resource's own model.
    """
    settings = profile.evaluation

    @dg.asset(
        name=checkpoint,
        key_prefix="evaluation",
        partitions_def=benchmarks(profile),
        deps=[dg.AssetKey.from_user_string(asset), "benchmark_questions"],
        required_resource_keys={"lake", model},
        description=f"Answers of `{asset}` to one evaluation set, graded: avg@"
        f"{settings.samples_per_question} at temperature {settings.temperature:g}.\n\n"
        "```text\navg@k = (1/Q) Σ_q (right answers to q) / k\n```",
        # Whatever else is set shapes no answer: how chance is measured, where the sets lie.
        **declared(GROUP, profile.compute.student_inference, "5", settings.samples_per_question,
                   settings.temperature, settings.top_p,
                   {name: each.max_tokens for name, each in settings.benchmarks.items()},
                   profile.verification, profile.system_prompt, profile.seed,
                   *shaping_graders(profile.domains), kinds={"huggingface"}, table="evaluation"),
    )  # fmt: skip
    def evaluation(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        lake: Lake = context.resources.lake
        benchmark = context.partition_key
        partition = {"checkpoint": checkpoint, "benchmark": benchmark}
        questions = lake.read("benchmark_questions", {"benchmark": benchmark})
        journal = lake.journal("evaluation", partition)
        path = str(lake.current_checkpoint(checkpoint)) if trained else None
        runs_it: InferenceModel = getattr(context.resources, model)
        judged = lake.journal("evaluation_verdicts", partition)
        with Graders(profile.domains, profile.verification, judged) as graders:
            graders.require(questions)
            with runs_it.open(path) as engine:
                rows = evaluate_checkpoint(
                    questions, engine,
                    checkpoint=checkpoint,
                    settings=settings,
                    system_prompt=profile.system_prompt,
                    seed=profile.seed,
                    journal=journal,
                    on_progress=log_progress(context, "answers"),
                    graders=graders,
                    earlier=lake.earlier("evaluation", partition, list(EARLIER)),
                    threads=max(1, int(profile.compute.student_inference.cpus)),
                )  # fmt: skip
                written = lake.write("evaluation", rows, partition)
        journal.unlink(missing_ok=True)
        return materialized(
            lake, written, partition, **answer_summary(lake, partition), **graders.spent
        )

    return evaluation


def _teacher_scores(profile: Profile, checkpoint: str) -> dg.AssetsDefinition:
    settings = profile.evaluation.provenance

    @dg.asset(
        name=checkpoint,
        key_prefix="evaluation_teacher_scores",
        partitions_def=benchmarks(profile),
        deps=[dg.AssetKey(["evaluation", checkpoint]), "benchmark_questions", "teacher_model"],
        description=f"The teacher's logprob of every token of the answers of `{checkpoint}`, in "
        "the teacher's own format.\n\n```text\nlogprob_i = log p_T(y_i | question, y_<i)\n```",
        **declared(GROUP, profile.compute.teacher_inference, "1", settings.answers_per_question,
                   profile.teacher and profile.teacher.path, profile.system_prompt,
                   profile.teacher_responses.reasoning_effort, *profile.template_date_pinned,
                   kinds={"huggingface"}, table="evaluation_teacher_scores"),
    )  # fmt: skip
    def teacher_scores(
        context: dg.AssetExecutionContext,
        lake: Lake,
        teacher: InferenceModel,
        base_student_model: InferenceModel,
    ) -> dg.MaterializeResult:
        partition = {"checkpoint": checkpoint, "benchmark": context.partition_key}
        answers = read_answers(lake, partition, settings.answers_per_question)
        with teacher.open() as engine:
            day = template_date(
                lake, "evaluation_teacher_scores", partition, engine.tokenizer,
                profile.template_date,
            )  # fmt: skip
            rows = score_answers(
                answers, engine, base_student_model.written_format(),
                system_prompt=profile.system_prompt,
                reasoning_effort=profile.teacher_responses.reasoning_effort,
                on_progress=log_progress(context, "answers"),
                template_date=day,
            )  # fmt: skip
            written = lake.write("evaluation_teacher_scores", rows, partition)
        return materialized(
            lake, written, partition, left_out=left_out(lake, partition), **date_shown(day)
        )

    return teacher_scores


def _provenance(profile: Profile, checkpoint: str) -> dg.AssetsDefinition:
    settings = profile.evaluation.provenance
    segmenter = segmenter_named(profile.divergence_sampling.segmenter)

    @dg.asset(
        name=checkpoint,
        key_prefix="evaluation_provenance",
        partitions_def=benchmarks(profile),
        deps=[
            dg.AssetKey(["evaluation", checkpoint]),
            dg.AssetKey(["evaluation_teacher_scores", checkpoint]),
            "benchmark_questions", "base_student",
        ],
        description=f"Whose sentences `{checkpoint}` writes: its own answers, judged by teacher T, "
        "base student S and the checkpoint D (the paper's Figs. 5 and 6).\n\n"
        "```text\n"
        "Shared:   |p_S − p_D|, |p_T − p_D| and |p_T − p_S| are all ≤ α\n"
        "Teacher:  p_T − p_S > β\n"
        "Student:  p_S − p_T > β\n"
        "Boosted:  otherwise\n"
        "```",
        **declared(GROUP, profile.compute.student_inference, "1", settings, segmenter.name,
                   segmenter.version, profile.base_student.path, profile.system_prompt,
                   kinds={"huggingface"}, table="evaluation_provenance"),
    )  # fmt: skip
    def provenance(
        context: dg.AssetExecutionContext, lake: Lake, base_student_model: InferenceModel
    ) -> dg.MaterializeResult:
        partition = {"checkpoint": checkpoint, "benchmark": context.partition_key}
        answers = read_answers(lake, partition, settings.answers_per_question)
        scores = lake.batches("evaluation_teacher_scores", partition, TEACHER_COLUMNS)
        with base_student_model.open() as engine:
            rows = answer_provenance(
                answers, scores, engine,
                settings=settings,
                segmenter=segmenter,
                system_prompt=profile.system_prompt,
                on_progress=log_progress(context, "answers"),
            )  # fmt: skip
            written = lake.write("evaluation_provenance", rows, partition)
        return materialized(lake, written, partition, answer_pictures(Path(lake.root), partition))

    return provenance
