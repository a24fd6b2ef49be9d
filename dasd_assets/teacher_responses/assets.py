"""Teacher responses: several answers per question and temperature (paper sections 3, 6.2)."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from dasd_assets.answering.earlier import SAMPLED
from dasd_assets.answering.template_date import date_shown, template_date
from dasd_assets.declaring.cost import took
from dasd_assets.declaring.declare import as_metadata, declared, log_progress, materialized
from dasd_assets.partitions import (
    QUESTION_SHARD,
    TEMPERATURE,
    response_partition,
    responses,
    same_shard,
    same_temperature,
    temperatures,
)
from dasd_assets.profile import Profile, settings_version
from dasd_assets.reporting.pictures import response_pictures
from dasd_assets.teacher_responses.sampling import sample_responses
from resources.engines.inference import InferenceModel
from resources.lake.lake import Lake

GROUP = "teacher_responses"


class Sampling(dg.Config):
    """What one run may choose, in the launchpad; what shapes a row is in the profile."""

    ask_again: bool = Field(
        False,
        description="Ask the teacher for every answer, also for those that an earlier "
        "materialization of the partition or the journal of a killed run has. They are paid for "
        "again; an engine that repeats itself gives the same rows.",
    )


def build(profile: Profile) -> list[dg.AssetsDefinition]:
    """Assets of the box for one profile."""
    settings = profile.teacher_responses

    @dg.asset(
        partitions_def=temperatures(profile),
        **declared(GROUP, profile.compute.data, "1", settings.temperatures,
                   settings.samples_per_question, kinds={"python"}),
    )  # fmt: skip
    def sampling_temperature(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """What one temperature of the profile stands for: its value and answers per question.

        An asset of its own, so that a changed value makes this temperature's responses stale
        and no other's, and a new temperature leaves the responses of the others alone.

        ```text
        p_T(token; T) = softmax(logits / T)     low T: sharp, few modes; high T: broad
        ```
        """
        temperature = settings.temperatures[context.partition_key]
        samples = settings.samples_per_question[context.partition_key]
        return dg.MaterializeResult(
            data_version=dg.DataVersion(settings_version(temperature, samples)),
            metadata={"temperature": temperature, "samples_per_question": samples, **took()},
        )

    @dg.asset(
        partitions_def=responses(profile),
        deps=[
            dg.AssetDep("questions", partition_mapping=same_shard()),
            dg.AssetDep(sampling_temperature, partition_mapping=same_temperature()),
            # The student is checked before the teacher is paid for.
            "teacher_model", "base_student",
        ],
        **declared(GROUP, profile.compute.teacher_inference, "1", profile.teacher.path,
                   profile.system_prompt, profile.seed, settings.top_p, settings.max_tokens,
                   settings.reasoning_effort, *profile.teacher.pinned(),
                   kinds={"huggingface"}, table="teacher_responses"),
    )  # fmt: skip
    def teacher_responses(
        context: dg.AssetExecutionContext, config: Sampling, lake: Lake, teacher: InferenceModel
    ) -> dg.MaterializeResult:
        """Answers of the teacher to one shard at one temperature, with token logprobs.

        The logprobs are the teacher's own, at temperature 1 and unfiltered (`raw_logprobs`),
        whatever temperature sampled the tokens. An answer that an earlier materialization of the
        partition has to the very same request is kept, not asked for again.

        ```text
        y_k ~ p_T( · | system prompt, question; T),   k = 1 … samples_per_question
        likelihood(y) = exp( (1/n) Σ_i log p_T(y_i | question, y_<i) )
        ```
        """
        cell = response_partition(context.partition_key)
        temperature = cell[TEMPERATURE]
        questions = lake.read("questions", {QUESTION_SHARD: cell[QUESTION_SHARD]})
        journal = lake.journal("teacher_responses", cell)
        earlier = lake.earlier("teacher_responses", cell, ["response_id", *SAMPLED])
        if config.ask_again:
            journal.unlink(missing_ok=True)
            earlier = iter(())
        with teacher.open() as engine:
            day = template_date(
                lake, "teacher_responses", cell, engine.tokenizer, profile.teacher.template_date
            )
            rows = sample_responses(
                questions, engine,
                temperature_name=temperature,
                temperature=settings.temperatures[temperature],
                samples_per_question=settings.samples_per_question[temperature],
                top_p=settings.top_p,
                max_tokens=settings.max_tokens,
                system_prompt=profile.system_prompt,
                reasoning_effort=settings.reasoning_effort,
                seed=profile.seed,
                journal=journal,
                on_progress=log_progress(context, "responses"),
                earlier=earlier,
                template_date=day,
            )  # fmt: skip
            written = lake.write("teacher_responses", rows, cell)
        journal.unlink(missing_ok=True)
        pictures = response_pictures(Path(lake.root), cell)
        return materialized(
            lake, written, cell,
            **sampling_summary(lake, cell), **date_shown(day), **as_metadata(pictures),
        )  # fmt: skip

    return [sampling_temperature, teacher_responses]


def sampling_summary(lake: Lake, cell: dict[str, str]) -> dict[str, dg.MetadataValue]:
    """Finish reasons of a partition of responses."""
    rows = lake.read("teacher_responses", cell, ["finish_reason"])
    reasons = rows["finish_reason"].value_counts().to_pylist()
    return {
        "finish_reasons": dg.MetadataValue.json({r["values"]: r["counts"] for r in reasons}),
    }
