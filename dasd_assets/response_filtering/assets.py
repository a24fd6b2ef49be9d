"""Response filtering: what passes the rules, in the student's format (paper section 6.3)."""

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.declaring.declare import declared, materialized
from dasd_assets.models import teachers
from dasd_assets.partitions import (
    QUESTION_SHARD,
    TEMPERATURE,
    response_partition,
    responses,
    same_shard,
)
from dasd_assets.profile import ImportedAnswers, Profile
from dasd_assets.profile.domains import shaping_graders
from dasd_assets.reporting import plots
from dasd_assets.response_filtering.filtering import Writers, filter_responses, write_filtered
from dasd_assets.response_filtering.outcomes import outcomes, outcomes_table
from dasd_assets.teacher_responses.imported.sources import answers_of_shard, writers_format
from dasd_assets.verification.graders import Graders
from formats.model_format import ModelFormat
from resources.engines.inference import InferenceModel
from resources.lake.lake import Lake

GROUP = "response_filtering"


def build(profile: Profile) -> list[dg.AssetsDefinition]:
    """Assets of the box for one profile."""
    settings = profile.response_filtering
    further = [teachers.resource_of(name) for name in profile.teachers]
    judged = [*settings.verify_domains, *settings.judge_domains]

    @dg.asset(
        partitions_def=responses(profile),
        deps=[
            "teacher_responses",
            dg.AssetDep("questions", partition_mapping=same_shard()),
            "base_student",
        ],
        required_resource_keys={"lake", "teacher", "base_student_model", *further},
        **declared(GROUP, profile.compute.data, "5", settings, profile.verification,
                   profile.system_prompt, profile.base_student.path,
                   *shaping_graders(profile.domains, judged), kinds={"parquet"},
                   table="filtered_responses"),
    )  # fmt: skip
    def filtered_responses(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """Answers that keep every rule, rewritten to `<think>…</think>` and the final answer.

        A rejected answer is kept in `rejected_responses` with every rule that it breaks and the
        evidence. Lengths count the student's tokens; nothing is ever cut.

        ```text
        kept(y)  ⇔  y breaks no rule of:
          length, truncation, structure (reasoning and answer), no tool call,
          repeated paragraph / sentence / n-gram / characters, and, where asked for, a right answer
        sampled = kept + rejected
        ```
        """
        lake: Lake = context.resources.lake
        student: InferenceModel = context.resources.base_student_model
        cell = response_partition(context.partition_key)
        shard = {QUESTION_SHARD: cell[QUESTION_SHARD]}
        questions = lake.read("questions", shard, ["question_id", "domain", "answer"])
        journal = lake.journal("filtered_responses", cell)
        with Graders(profile.domains, profile.verification, journal) as graders:
            graders.require(
                questions.filter(pc.is_in(questions["domain"], pa.array(judged, pa.string())))
            )
            filtered = filter_responses(
                lake.batches("teacher_responses", cell),
                teacher=_writers(
                    answers_of_shard(profile, cell[QUESTION_SHARD]),
                    *(getattr(context.resources, name) for name in ("teacher", *further)),
                ),
                student=student.written_format(),
                settings=settings,
                system_prompt=profile.system_prompt,
                references=dict(
                    zip(questions["question_id"].to_pylist(), questions["answer"].to_pylist(),
                        strict=True)
                ),
                graders=graders,
                threads=max(1, int(profile.compute.data.cpus)),
            )  # fmt: skip
            written, rejected = write_filtered(lake, cell, filtered, context.log.warning)
        counted = outcomes(_temperatures(lake, profile, cell))
        return materialized(
            lake, written, cell, {"funnel_plot": plots.filter_funnel(counted)},
            temperature=cell[TEMPERATURE],
            rejected=rejected.n_rows,
            **graders.spent,
            funnel=dg.MetadataValue.md(outcomes_table(counted)),
            funnel_counts=counted,
        )  # fmt: skip

    return [filtered_responses]


def _writers(
    answers: ImportedAnswers | None, first: InferenceModel, *further: InferenceModel
) -> ModelFormat | Writers | None:
    """How whoever wrote a shard's answers writes."""
    if answers is not None or not further:
        return writers_format(answers, first)
    return {teacher.signature(): teacher.written_format() for teacher in (first, *further)}


def _temperatures(
    lake: Lake, profile: Profile, cell: dict[str, str]
) -> dict[str, tuple[pa.Table, pa.Table]]:
    """Kept and rejected answers of this shard at every temperature that is there.

    One that is damaged is left out: it is made again after this, or was before.
    """
    cells = ({**cell, TEMPERATURE: name} for name in profile.teacher_responses.temperatures)
    return {
        each[TEMPERATURE]: (
            lake.read("filtered_responses", each, ["domain"]),
            lake.read("rejected_responses", each, ["domain", "broken_rules"]),
        )
        for each in cells
        if all(lake.is_whole(name, each) for name in ("filtered_responses", "rejected_responses"))
    }
