"""Divergence-aware sampling: the answers that teach this student most (paper section 4)."""

import dagster as dg

from dasd_assets.declare import declared, log_progress, materialized
from dasd_assets.divergence_sampling.provenance import sentence_provenance as provenance_of
from dasd_assets.divergence_sampling.sample import make_sample, scored_shards, summary
from dasd_assets.divergence_sampling.selection import select
from dasd_assets.divergence_sampling.sentences import DEFAULT_SEGMENTER
from dasd_assets.divergence_sampling.student_scoring import score_responses
from dasd_assets.partitions import (
    QUESTION_SHARD,
    TEMPERATURE,
    response_partition,
    responses,
    same_temperature,
    temperatures,
)
from dasd_assets.profile import Profile
from resources.inference import InferenceModel
from resources.lake import Lake

GROUP = "divergence_sampling"


def build(profile: Profile) -> list[dg.AssetsDefinition]:
    """Assets of the box for one profile."""
    settings = profile.divergence_sampling
    segmenter = DEFAULT_SEGMENTER

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
        """
        cell = response_partition(context.partition_key)
        filtered = lake.read(
            "filtered_responses", cell,
            ["response_id", "question", "reasoning", "answer", "response_text"],
        )  # fmt: skip
        with base_student_model.open() as engine:
            rows = score_responses(
                filtered, engine, profile.system_prompt, log_progress(context, "responses")
            )
            written = lake.write("student_scores", rows, cell)
        return materialized(lake, written, cell)

    @dg.asset(
        partitions_def=responses(profile),
        deps=["filtered_responses", student_scores],
        **declared(GROUP, profile.compute.data, "2", settings.min_probability_ratio,
                   segmenter.name, segmenter.version, kinds={"parquet"},
                   table="sentence_provenance"),
    )  # fmt: skip
    def sentence_provenance(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult:
        """Whose sentence is it: Teacher, Student or Shared, sentence by sentence.

        `p_M(s) = exp(mean log p_M(t))` over the tokens of the sentence under the model's own
        tokenizer. Per response, `response_provenance` has the counts and the means.
        """
        cell = response_partition(context.partition_key)
        provenance = provenance_of(
            lake.read("filtered_responses", cell),
            lake.read("student_scores", cell),
            settings.min_probability_ratio,
            segmenter,
        )
        lake.write("response_provenance", provenance.responses, cell)
        written = lake.write("sentence_provenance", provenance.sentences, cell)
        classes = provenance.sentences["sentence_class"].value_counts().to_pylist()
        return materialized(
            lake, written, cell,
            responses=provenance.responses.num_rows,
            sentence_classes={row["values"]: row["counts"] for row in classes},
            segmenter=f"{segmenter.name} {segmenter.version}",
        )  # fmt: skip

    @dg.asset(
        partitions_def=temperatures(profile),
        deps=[dg.AssetDep(sentence_provenance, partition_mapping=same_temperature())],
        **declared(GROUP, profile.compute.data, "2", settings, profile.seed, kinds={"parquet"},
                   table="divergence_sample"),
    )  # fmt: skip
    def divergence_sample(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult:
        """The training set of one temperature: the best-ranked answers under the budget.

        All candidates keep score, rank, length stratum and decision in `divergence_candidates`,
        together with a random control of the same token budget.
        """
        temperature = {TEMPERATURE: context.partition_key}
        shards = scored_shards(lake, context.partition_key)
        candidates = select(
            lake.read_partitions("response_provenance", **temperature).drop_columns(TEMPERATURE),
            settings,
            context.partition_key,
            profile.seed,
        )
        sample = make_sample(candidates, lake, shards)  # before anything is written
        lake.write("divergence_candidates", candidates, temperature)
        written = lake.write("divergence_sample", sample, temperature)
        registered = set(context.instance.get_dynamic_partitions(QUESTION_SHARD))
        return materialized(
            lake, written, temperature,
            **summary(candidates, settings, context.partition_key),
            shards_not_ready=sorted(registered - {shard[QUESTION_SHARD] for shard in shards}),
        )  # fmt: skip

    return [student_scores, sentence_provenance, divergence_sample]
