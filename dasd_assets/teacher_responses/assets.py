"""Teacher responses: several answers per question and temperature (paper sections 3, 6.2)."""

from itertools import chain
from pathlib import Path

import dagster as dg
import pyarrow as pa
from pydantic import Field

from dasd_assets.answering.earlier import SAMPLED
from dasd_assets.answering.template_date import date_shown, template_date
from dasd_assets.declaring.cost import took
from dasd_assets.declaring.declare import declared, log_progress, materialized, quarantine
from dasd_assets.models import teachers
from dasd_assets.partitions import (
    QUESTION_SHARD,
    TEMPERATURE,
    response_partition,
    responses,
    same_shard,
    same_temperature,
    temperatures,
)
from dasd_assets.profile import ImportedAnswers, Profile, settings_version
from dasd_assets.profile.domains import shaping_names
from dasd_assets.profile.teachers import FIRST
from dasd_assets.questions.inbox.listing import inbox_at
from dasd_assets.questions.reading.drops import layout_of
from dasd_assets.reporting.pictures import response_pictures
from dasd_assets.teacher_responses.imported.partition import write_imported
from dasd_assets.teacher_responses.imported.responses import ImportedResponses
from dasd_assets.teacher_responses.imported.sources import (
    answers_of_shard,
    model_of,
    no_one_answers,
    writers_format,
)
from dasd_assets.teacher_responses.sampling import sample_responses
from dasd_assets.teacher_responses.sharing import asked_of, sharing
from dasd_assets.teacher_responses.tops import earlier_tops, write_tops
from resources.engines.inference import InferenceModel
from resources.lake.lake import Lake
from resources.lake.table import ContractError
from resources.lake.tables.teacher_responses import IMPORTED

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
    # Only where drops bring answers: without, the graph and its versions are what they were.
    imports = [_imported_answers(profile)] if profile.imports else []
    writers = {
        name: (answers.model, answers.temperatures) for name, answers in profile.imports.items()
    }
    compute = profile.compute.teacher_inference if profile.teacher else profile.compute.data
    resources = {
        name: teachers.resource_of(name) if name in profile.teachers else name
        for name in profile.answerers
    }
    brought = [dg.AssetDep("imported_answers", partition_mapping=dg.IdentityPartitionMapping())]

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
            *(["teacher_model"] if profile.teacher else []), "base_student",
            *(dg.AssetKey(["teacher_model", name]) for name in profile.teachers),
            *(brought if imports else []),
        ],
        required_resource_keys={"lake", *resources.values()},
        **declared(GROUP, compute, "1", profile.teacher and profile.teacher.path,
                   profile.system_prompt, profile.seed, settings.top_p, settings.max_tokens,
                   settings.reasoning_effort, *profile.template_date_pinned,
                   *([writers] if imports else []),
                   *([sharing(profile)] if profile.teachers else []),
                   *([settings.top_logprobs] if settings.top_logprobs else []),
                   kinds={"huggingface"}, table="teacher_responses"),
    )  # fmt: skip
    def teacher_responses(
        context: dg.AssetExecutionContext, config: Sampling
    ) -> dg.MaterializeResult:
        """Answers of the teacher to one shard at one temperature, with token logprobs.

        The logprobs are the teacher's own, at temperature 1 and unfiltered (`raw_logprobs`),
        whatever temperature sampled the tokens. An answer that an earlier materialization of the
        partition has to the very same request is kept, not asked for again.

        ```text
        y_k ~ p_T( · | system prompt, question; T),   k = 1 … samples_per_question
        likelihood(y) = exp( (1/n) Σ_i log p_T(y_i | question, y_<i) )
        ```

        Where the drop brought its answers along, these are taken, and nothing is asked. Several
        teachers are asked one after the other, each its share of the questions. With `top_logprobs`
        the k likeliest tokens at each position are kept in `teacher_top_logprobs`.
        """
        lake: Lake = context.resources.lake
        cell = response_partition(context.partition_key)
        temperature = cell[TEMPERATURE]
        questions = lake.read("questions", {QUESTION_SHARD: cell[QUESTION_SHARD]})
        if answers := answers_of_shard(profile, cell[QUESTION_SHARD]):
            return _take_over(lake, cell, questions, answers, profile)
        if profile.teacher is None:
            raise ContractError(no_one_answers(cell[QUESTION_SHARD]))
        parts, journals, day = [], [], None
        shares = {name: each.questions for name, each in profile.answerers.items()}
        for name, resource in resources.items():
            theirs = asked_of(name, questions, shares, profile.seed)
            if not theirs.num_rows:
                continue
            journal = lake.journal("teacher_responses", cell | _of_further(name))
            journals.append(journal)
            earlier = lake.earlier("teacher_responses", cell, ["response_id", *SAMPLED])
            if config.ask_again:
                journal.unlink(missing_ok=True)
                earlier = iter(())
            model: InferenceModel = getattr(context.resources, resource)
            with model.open() as engine:
                pinned = profile.answerers[name].template_date
                shown = template_date(lake, "teacher_responses", cell, engine.tokenizer, pinned)
                day = day or shown
                part = sample_responses(
                    theirs, engine,
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
                    template_date=shown,
                    top_logprobs=settings.top_logprobs,
                    earlier_tops=earlier_tops(lake, cell, settings.top_logprobs),
                )  # fmt: skip
                parts.append(part)
        # Only now: the next engine needs the memory of the one before, the rows need none.
        tops = write_tops(lake, cell, parts, settings.top_logprobs)
        written = lake.write("teacher_responses", chain.from_iterable(parts), cell)
        for journal in journals:
            journal.unlink(missing_ok=True)
        pictures = response_pictures(Path(lake.root), cell)
        return materialized(
            lake, written, cell, pictures,
            **sampling_summary(lake, cell), **tops, **date_shown(day),
        )  # fmt: skip

    return [*imports, sampling_temperature, teacher_responses]


def _of_further(name: str) -> dict[str, str]:
    """What tells the journal of a further teacher from that of the first."""
    return {} if name == FIRST else {"teacher": name}


def _imported_answers(profile: Profile) -> dg.AssetsDefinition:
    settings = profile.questions
    reads_by_teacher = profile.teacher is not None and any(
        answers.tokens is not None and answers.model is None for answers in profile.imports.values()
    )

    @dg.asset(
        partitions_def=responses(profile),
        deps=[
            dg.AssetDep("question_drops", partition_mapping=same_shard()),
            *(["teacher_model"] if reads_by_teacher else []),
        ],
        **declared(GROUP, profile.compute.data, "1", list(settings.layouts.items()),
                   settings.max_row_bytes, *shaping_names(profile.domains), kinds={"parquet"},
                   table="imported_answers"),
    )  # fmt: skip
    def imported_answers(
        context: dg.AssetExecutionContext, lake: Lake, teacher: InferenceModel
    ) -> dg.MaterializeResult:
        """The answers that a drop brought along for one temperature, each checked by itself.

        Rows that cannot be used go to `quarantined_answers` with file, line and reason. Of a drop
        without answers, and at a temperature that it has none for, there are no rows.

        ```text
        token ids spell the text;  logprobs: one per token, finite, ≤ 0, exp(mean) ≤ max_p_teacher
        rows of the drop = imported answers + quarantined answers
        ```
        """
        cell = response_partition(context.partition_key)
        answers = answers_of_shard(profile, cell[QUESTION_SHARD])
        written, facts = write_imported(
            lake, cell,
            inbox=inbox_at(settings.inbox),
            layout=layout_of(cell[QUESTION_SHARD], settings.layouts),
            max_row_bytes=settings.max_row_bytes,
            domains=profile.domains,
            writer=writers_format(answers, teacher) if answers else None,
        )  # fmt: skip
        unusable = lake.read("quarantined_answers", cell)
        return materialized(lake, written, cell, **facts, **quarantine(unusable))

    return imported_answers


def _take_over(
    lake: Lake,
    cell: dict[str, str],
    questions: pa.Table,
    answers: ImportedAnswers,
    profile: Profile,
) -> dg.MaterializeResult:
    """The imported answers to the questions that curation kept."""
    at = answers.temperatures.get(cell[TEMPERATURE])
    taken = ImportedResponses(
        questions,
        model=model_of(answers, profile),
        temperature=at.temperature if at else None,
    )
    tops = write_tops(lake, cell, [], profile.teacher_responses.top_logprobs)
    rows = taken.rows(lake.batches("imported_answers", cell))
    written = lake.write("teacher_responses", rows, cell)
    return materialized(
        lake, written, cell, response_pictures(Path(lake.root), cell),
        engine=IMPORTED,
        without_question=taken.n_without_question,
        **tops,
        **sampling_summary(lake, cell),
    )  # fmt: skip


def sampling_summary(lake: Lake, cell: dict[str, str]) -> dict[str, dg.MetadataValue]:
    """Finish reasons of a partition of responses."""
    rows = lake.read("teacher_responses", cell, ["finish_reason"])
    reasons = rows["finish_reason"].value_counts().to_pylist()
    return {
        "finish_reasons": dg.MetadataValue.json({r["values"]: r["counts"] for r in reasons}),
    }
