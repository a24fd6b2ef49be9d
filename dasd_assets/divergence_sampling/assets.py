"""Divergence-aware sampling: the answers that teach this student most (paper section 4)."""

from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from dasd_assets.answering.template_date import date_shown, template_date
from dasd_assets.declaring.declare import declared, log_progress, materialized, place
from dasd_assets.declaring.pages import page_link
from dasd_assets.divergence_sampling.policies import rankable
from dasd_assets.divergence_sampling.provenance_run import write_provenance
from dasd_assets.divergence_sampling.ready_shards import shards_to_draw_from
from dasd_assets.divergence_sampling.sample import sample_of, summary
from dasd_assets.divergence_sampling.selection import select
from dasd_assets.divergence_sampling.sentences import segmenter_named
from dasd_assets.divergence_sampling.student_scoring import TEXT_COLUMNS, score_responses
from dasd_assets.divergence_sampling.teacher_scoring import SCORED_BY_TEACHER, score_with_teacher
from dasd_assets.partitions import (
    QUESTION_SHARD,
    TEMPERATURE,
    response_partition,
    responses,
    same_temperature,
    temperatures,
)
from dasd_assets.profile import DivergenceSampling, Profile
from dasd_assets.reporting.pictures import provenance_pictures, sample_page, sample_pictures
from resources.engines.inference import InferenceModel
from resources.lake.lake import Lake

GROUP = "divergence_sampling"
VIEWER = "provenance_viewer/{partition}.html"


def build(profile: Profile) -> list[dg.AssetsDefinition]:
    """Assets of the box for one profile."""
    settings = profile.divergence_sampling
    segmenter = segmenter_named(settings.segmenter)

    @dg.asset(
        partitions_def=responses(profile),
        deps=["filtered_responses", "base_student"],
        **declared(GROUP, profile.compute.student_inference, "1", profile.base_student.path,
                   profile.system_prompt, kinds={"huggingface"}, table="student_scores"),
    )  # fmt: skip
    def student_scores(
        context: dg.AssetExecutionContext, lake: Lake, base_student_model: InferenceModel
    ) -> dg.MaterializeResult:
        """The base student's logprob and rank of every token of every filtered response.

        One forward pass per response; the student is the one before distillation.

        ```text
        logprob_i = log p_S(y_i | prompt, y_<i)
        rank_i    = 1 + number of tokens that p_S finds likelier than y_i
        ```
        """
        cell = response_partition(context.partition_key)
        filtered = lake.batches("filtered_responses", cell, TEXT_COLUMNS)
        n_responses = lake.read("filtered_responses", cell, ["response_id"]).num_rows
        with base_student_model.open() as engine:
            rows = score_responses(
                filtered, n_responses, engine, profile.system_prompt,
                log_progress(context, "responses"),
            )  # fmt: skip
            written = lake.write("student_scores", rows, cell)
        return materialized(lake, written, cell)

    scored_by_teacher = [] if profile.no_teacher_scores else [_teacher_scores(profile)]

    @dg.asset(
        partitions_def=responses(profile),
        deps=["filtered_responses", student_scores, *scored_by_teacher],
        **declared(GROUP, profile.compute.data, "4", settings.rule,
                   segmenter.name, segmenter.version, kinds={"parquet"},
                   table="sentence_provenance"),
    )  # fmt: skip
    def sentence_provenance(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult:
        """Whose sentence is it: Teacher, Student or Common, sentence by sentence.

        The tokens of a sentence are those of each model's own tokenizer. Per response,
        `response_provenance` has the counts and the means.

        ```text
        p_M(s) = exp( (1/n) Σ_i log p_M(t_i | prompt, t_<i) ),   M = T (teacher), S (base student)
        Teacher Sentence:  p_T − p_S > β
        Student Sentence:  p_S − p_T > β
        Common:            otherwise            β = divergence_sampling.rule.beta
        ```
        """
        cell = response_partition(context.partition_key)
        written, facts = write_provenance(
            lake, cell, settings.rule, segmenter, with_teacher_scores=bool(scored_by_teacher)
        )
        return materialized(
            lake, written, cell, provenance_pictures(Path(lake.root), cell), **facts
        )

    @dg.asset(
        partitions_def=temperatures(profile),
        deps=[dg.AssetDep(sentence_provenance, partition_mapping=same_temperature())],
        **declared(GROUP, profile.compute.data, "4", _shaping(settings), profile.seed,
                   *settings.exclude_shards, kinds={"parquet"}, table="divergence_sample",
                   stored=VIEWER, from_what_is_ready=not settings.require_all_shards),
    )  # fmt: skip
    def divergence_sample(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult:
        """The training set of one temperature: the best-ranked answers under the budget.

        Drawn from the question_shards that are ready; the check `shards_ready` names the others.
        All candidates keep score, rank, length stratum and decision in `divergence_candidates`,
        together with a random and a longest control of the same token budget.

        ```text
        score(y) = number of Teacher Sentences of y                (policy `divergence_count`)
        chosen   = within domain and length stratum the best answer to each question, then the
                   second best …, until the budget of samples or tokens is spent
        weight   = 1, or by p_T(y) where divergence_sampling.weights says so
        ```
        """
        temperature = {TEMPERATURE: context.partition_key}
        shards = shards_to_draw_from(
            lake, context.partition_key, settings.exclude_shards, settings.require_all_shards
        )
        found = pa.concat_tables(
            lake.read_partitions("response_provenance", None, **shard) for shard in shards.ready
        )
        known = rankable(found.drop_columns(TEMPERATURE), settings.policy)
        candidates = select(
            known,
            settings,
            context.partition_key,
            profile.seed,
        )
        scratch = Path(lake.root, "_scratch", f"divergence_sample__{context.partition_key}")
        with sample_of(candidates, lake, shards.ready, scratch, settings.weights) as sample:
            lake.write("divergence_candidates", candidates, temperature)
            written = lake.write("divergence_sample", sample, temperature)
        page = sample_page(Path(lake.root), context.partition_key)
        viewer = VIEWER.format(partition=context.partition_key)
        file = lake.publish_page(viewer, page.encode())
        drawn_from = {shard[QUESTION_SHARD] for shard in shards.ready}
        registered = set(context.instance.get_dynamic_partitions(QUESTION_SHARD))
        return materialized(
            lake, written, temperature,
            sample_pictures(Path(lake.root), context.partition_key),
            **summary(candidates, settings, context.partition_key),
            without_teacher_probability=found.num_rows - known.num_rows,
            shards_not_ready=sorted(
                (registered | shards.not_ready.keys()) - drawn_from - {*settings.exclude_shards}
            ),
            provenance_viewer=page_link(viewer),
            provenance_viewer_file=place(lake, file),
        )  # fmt: skip

    return [student_scores, *scored_by_teacher, sentence_provenance, divergence_sample]


def _shaping(settings: DivergenceSampling) -> dict[str, Any]:
    """The settings that decide what is in a sample; which shards are left out is added to them."""
    return settings.model_dump(mode="json", exclude={"require_all_shards", "exclude_shards"})


def _teacher_scores(profile: Profile) -> dg.AssetsDefinition:
    @dg.asset(
        partitions_def=responses(profile),
        deps=["filtered_responses", "teacher_model"],
        **declared(GROUP, profile.compute.teacher_inference, "1",
                   profile.teacher and profile.teacher.path, profile.system_prompt,
                   profile.teacher_responses.reasoning_effort, *profile.template_date_pinned,
                   kinds={"huggingface"}, table="teacher_scores"),
    )  # fmt: skip
    def teacher_scores(
        context: dg.AssetExecutionContext, lake: Lake, teacher: InferenceModel
    ) -> dg.MaterializeResult:
        """The teacher's logprob of every token of the answers that came without logprobs.

        One forward pass per response, in the teacher's own format. A response that has the logprobs
        of its sampling keeps these; one that does not fit into the teacher's context is left out.

        ```text
        logprob_i = log p_T(y_i | question, y_<i)
        ```
        """
        cell = response_partition(context.partition_key)
        filtered = lake.batches("filtered_responses", cell, SCORED_BY_TEACHER)
        n_responses = lake.read("filtered_responses", cell, ["response_id"]).num_rows
        with teacher.open() as engine:
            day = template_date(
                lake, "teacher_scores", cell, engine.tokenizer, profile.template_date
            )
            rows = score_with_teacher(
                filtered, n_responses, engine,
                system_prompt=profile.system_prompt,
                reasoning_effort=profile.teacher_responses.reasoning_effort,
                template_date=day,
                on_progress=log_progress(context, "responses"),
            )  # fmt: skip
            written = lake.write("teacher_scores", rows, cell)
        reasons = lake.read("teacher_scores", cell, ["left_out"])["left_out"].drop_null()
        left_out = {row["values"]: row["counts"] for row in reasons.value_counts().to_pylist()}
        return materialized(lake, written, cell, left_out=left_out, **date_shown(day))

    return teacher_scores
