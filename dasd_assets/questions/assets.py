"""Questions: drops of a user's questions become curated shards (paper section 6.1)."""

from pathlib import Path

import dagster as dg
import pyarrow.compute as pc

from dasd_assets.declare import declared, materialized
from dasd_assets.partitions import QUESTION_SHARD, benchmarks, question_shards
from dasd_assets.profile import Profile, resolve_path
from dasd_assets.questions.curation import curate
from dasd_assets.questions.drops import read_drop
from dasd_assets.questions.evaluation_sets import read_benchmark
from dasd_assets.questions.inbox import drop_of_shard
from resources.lake import Lake

GROUP = "questions"


def build(profile: Profile) -> list[dg.AssetsDefinition]:
    """Assets of the box for one profile."""
    settings = profile.questions
    inbox = Path(resolve_path(settings.inbox))

    @dg.asset(
        partitions_def=question_shards,
        **declared(GROUP, profile.compute.data, "1", settings.max_row_bytes, kinds={"parquet"},
                   table="raw_questions"),
    )  # fmt: skip
    def raw_questions(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult:
        """One drop as delivered: every usable row, with its line.

        Rows that cannot be used go to the table `quarantined_rows` with file, line and reason.
        """
        shard = {QUESTION_SHARD: context.partition_key}
        drop = drop_of_shard(inbox, context.partition_key)
        contents = read_drop(drop, drop.name, settings.max_row_bytes)
        lake.write("quarantined_rows", contents.quarantined, shard)
        written = lake.write("raw_questions", contents.rows, shard)
        reasons = pc.value_counts(contents.quarantined["reason"]).to_pylist()
        return materialized(
            lake, written, shard,
            quarantined=contents.quarantined.num_rows,
            quarantine_reasons={row["values"]: row["counts"] for row in reasons},
        )  # fmt: skip

    @dg.asset(
        partitions_def=benchmarks(profile),
        **declared(GROUP, profile.compute.data, "1", profile.evaluation.benchmarks,
                   kinds={"parquet"}, table="benchmark_questions"),
    )  # fmt: skip
    def benchmark_questions(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult:
        """One evaluation set: asked of every checkpoint, kept out of the training questions."""
        name = context.partition_key
        file = resolve_path(profile.evaluation.benchmarks[name].path)
        partition = {"benchmark": name}
        rows = read_benchmark(file, name, settings.max_row_bytes)
        return materialized(lake, lake.write("benchmark_questions", rows, partition), partition)

    @dg.asset(
        partitions_def=question_shards,
        deps=[raw_questions, dg.AssetDep(benchmark_questions,
                                         partition_mapping=dg.AllPartitionMapping())],
        **declared(GROUP, profile.compute.data.model_copy(update={"pool": "question_curation"}),
                   "1", settings.decontamination_ngram_words, kinds={"duckdb"}, table="questions"),
    )  # fmt: skip
    def questions(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult:
        """Normalised questions of one shard, each one once in all shards and in no evaluation set.

        A question that another shard has already is rejected here; the shard that was curated
        first keeps it (one curation runs at a time, so two shards never both keep one). Rejected
        questions are kept with reason and evidence in `rejected_questions`.
        """
        shard = {QUESTION_SHARD: context.partition_key}
        elsewhere = lake.read_partitions("questions", ["question_id"])
        if elsewhere.num_rows:
            other = pc.not_equal(elsewhere[QUESTION_SHARD], context.partition_key)
            elsewhere = elsewhere.filter(other)
        curated = curate(
            lake.read("raw_questions", shard),
            elsewhere,
            lake.read_partitions("benchmark_questions"),
            settings.decontamination_ngram_words,
        )
        lake.write("rejected_questions", curated.rejected, shard)
        written = lake.write("questions", curated.questions, shard)
        domains = pc.value_counts(curated.questions["domain"]).to_pylist()
        return materialized(
            lake, written, shard,
            rejected=curated.rejected.num_rows,
            per_domain={row["values"]: row["counts"] for row in domains},
        )  # fmt: skip

    return [raw_questions, benchmark_questions, questions]
