"""Evaluation: avg@k of the base student and of every checkpoint (paper section 7.3)."""

import dagster as dg

from dasd_assets.declaring.declare import declared, log_progress, materialized
from dasd_assets.evaluation.evaluate import EARLIER, evaluate_checkpoint
from dasd_assets.evaluation.stage_report import write_stage_report
from dasd_assets.partitions import benchmarks
from dasd_assets.profile import Profile
from dasd_assets.reporting.collect import answer_summary
from dasd_assets.verification.graders import require_sandbox
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
        _evaluation(profile, checkpoint, asset) for checkpoint, asset in CHECKPOINT_ASSETS.items()
    ]

    @dg.asset(
        deps=[
            *(
                dg.AssetDep(evaluation, partition_mapping=dg.AllPartitionMapping())
                for evaluation in evaluations
            ),
        ],
        **declared(GROUP, profile.compute.data, "3", profile, kinds={"html"}),
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

    return [*evaluations, stage_report]


def _evaluation(profile: Profile, checkpoint: str, asset: str) -> dg.AssetsDefinition:
    """One asset per checkpoint, so that a new checkpoint leaves the others' results alone."""
    settings = profile.evaluation

    @dg.asset(
        name=checkpoint,
        key_prefix="evaluation",
        partitions_def=benchmarks(profile),
        deps=[asset, "benchmark_questions"],
        description=f"Answers of `{asset}` to one evaluation set, graded: avg@"
        f"{settings.samples_per_question} at temperature {settings.temperature:g}.\n\n"
        "```text\navg@k = (1/Q) Σ_q (right answers to q) / k\n```",
        # Whatever else is set shapes no answer: how chance is measured, where the sets lie.
        **declared(GROUP, profile.compute.student_inference, "3", settings.samples_per_question,
                   settings.temperature, settings.top_p,
                   {name: each.max_tokens for name, each in settings.benchmarks.items()},
                   profile.verification, profile.system_prompt, profile.seed,
                   kinds={"huggingface"}, table="evaluation"),
    )  # fmt: skip
    def evaluation(
        context: dg.AssetExecutionContext, lake: Lake, base_student_model: InferenceModel
    ) -> dg.MaterializeResult:
        benchmark = context.partition_key
        partition = {"checkpoint": checkpoint, "benchmark": benchmark}
        questions = lake.read("benchmark_questions", {"benchmark": benchmark})
        require_sandbox(questions)
        journal = lake.journal("evaluation", partition)
        path = None if checkpoint == "base" else str(lake.current_checkpoint(checkpoint))
        with base_student_model.open(path) as engine:
            rows = evaluate_checkpoint(
                questions, engine,
                checkpoint=checkpoint,
                settings=settings,
                system_prompt=profile.system_prompt,
                seed=profile.seed,
                journal=journal,
                on_progress=log_progress(context, "answers"),
                verification=profile.verification,
                earlier=lake.earlier("evaluation", partition, list(EARLIER)),
                threads=max(1, int(profile.compute.student_inference.cpus)),
            )  # fmt: skip
            written = lake.write("evaluation", rows, partition)
        journal.unlink(missing_ok=True)
        return materialized(lake, written, partition, **answer_summary(lake, partition))

    return evaluation
