"""Questions: drops of a user's questions become curated shards (paper section 6.1)."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.declaring.declare import declared, materialized, quarantine
from dasd_assets.declaring.pools import CURATION_POOL
from dasd_assets.partitions import QUESTION_SHARD, benchmarks, question_shards
from dasd_assets.profile import Profile
from dasd_assets.profile.domains import shaping_names
from dasd_assets.questions.benchmarks.evaluation_sets import read_benchmark
from dasd_assets.questions.curation.curate import curated
from dasd_assets.questions.curation.stored_shards import shard_to_curate
from dasd_assets.questions.inbox.listing import drop_of_shard, inbox_at, local_drop
from dasd_assets.questions.reading.data_files import passed_over
from dasd_assets.questions.reading.drops import layout_of, read_drop
from dasd_assets.verification.graders import Graders
from resources.lake.lake import Lake
from resources.lake.tables.questions import QUARANTINED_ROWS

GROUP = "questions"


def build(profile: Profile) -> list[dg.AssetsDefinition]:
    """Assets of the box for one profile."""
    settings = profile.questions
    inbox = inbox_at(settings.inbox)
    # Answers that a drop brings along shape no question.
    question_layouts = [
        (name, layout.model_dump(mode="json", exclude={"answers"}))
        for name, layout in settings.layouts.items()
    ]

    @dg.asset(
        partitions_def=question_shards,
        deps=["question_drops"],
        **declared(GROUP, profile.compute.data, "2", settings.max_row_bytes,
                   question_layouts, *shaping_names(profile.domains),
                   kinds={"parquet"}, table="raw_questions"),
    )  # fmt: skip
    def raw_questions(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult:
        """One drop as delivered: every usable row, with its file and line.

        Rows that cannot be used go to the table `quarantined_rows` with file, line and reason.

        ```text
        rows of the drop = usable rows + quarantined rows
        ```
        """
        shard = {QUESTION_SHARD: context.partition_key}
        drop = drop_of_shard(inbox, context.partition_key)
        layout = layout_of(context.partition_key, settings.layouts)
        scratch = Path(lake.root, "_scratch", f"raw_questions__{context.partition_key}")
        quarantined: list[pa.Table] = [QUARANTINED_ROWS.empty_table()]

        def rows() -> Iterator[pa.RecordBatch]:
            with local_drop(drop, scratch) as here:
                for name in passed_over(here):
                    context.log.warning(f"{name}: passed over, its name is no data file's")
                for part in read_drop(here, layout, settings.max_row_bytes, profile.domains):
                    quarantined.append(part.quarantined)
                    yield from part.rows.to_batches()
            lake.write("quarantined_rows", pa.concat_tables(quarantined), shard)

        written = lake.write("raw_questions", rows(), shard)
        unusable = pa.concat_tables(quarantined)
        reasons = pc.value_counts(unusable["reason"]).to_pylist()
        return materialized(
            lake, written, shard,
            quarantined=unusable.num_rows,
            quarantine_reasons={row["values"]: row["counts"] for row in reasons},
            **quarantine(unusable),
        )  # fmt: skip

    @dg.asset(
        partitions_def=benchmarks(profile),
        **declared(GROUP, profile.compute.data, "4", profile.evaluation.benchmarks, profile.seed,
                   *shaping_names(profile.domains), kinds={"parquet"},
                   table="benchmark_questions"),
    )  # fmt: skip
    def benchmark_questions(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult:
        """One evaluation set: asked of every checkpoint, kept out of the training questions.

        ```text
        word n-grams of `questions` ∩ word n-grams of the evaluation sets = ∅
        n = questions.decontamination_ngram_words
        ```
        """
        name = context.partition_key
        partition = {"benchmark": name}
        left_out: list[str] = []
        with Graders(profile.domains, profile.verification) as graders:
            benchmark = profile.evaluation.benchmarks[name]
            rows = read_benchmark(benchmark, name, graders, profile.seed, left_out)
            written = lake.write("benchmark_questions", rows, partition)
        for each in left_out:
            context.log.warning(f"left out of the evaluation set: {each}")
        return materialized(lake, written, partition, left_out=left_out)

    @dg.asset(
        partitions_def=question_shards,
        deps=[raw_questions, dg.AssetDep(benchmark_questions,
                                         partition_mapping=dg.AllPartitionMapping())],
        **declared(GROUP, profile.compute.data.model_copy(update={"pool": CURATION_POOL}),
                   "3", settings.decontamination_ngram_words, settings.near_duplicate_jaccard,
                   settings.near_duplicate_shingle_words, settings.near_duplicate_permutations,
                   kinds={"duckdb"}, table="questions"),
    )  # fmt: skip
    def questions(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult:
        """Normalised questions of one shard, each one once in all shards and in no evaluation set.

        A question that another shard has already, or one that is nearly the same, is rejected
        here; the shard that was curated first keeps it (the lake lets one curation run at a time,
        wherever they run, so two shards never both keep one). Rejected questions are kept with
        reason and evidence in `rejected_questions`.

        ```text
        question_id = hash(domain, NFC(question))       same id: duplicate
        J(a, b) = |A ∩ B| / |A ∪ B| of word shingles    J ≥ near_duplicate_jaccard: near-duplicate
        an n-gram shared with an evaluation set         contaminated
        ```
        """
        shard = {QUESTION_SHARD: context.partition_key}
        held_out = lake.read_partitions("benchmark_questions", ["benchmark", "question"])
        scratch = Path(lake.root, "_scratch", f"questions__{context.partition_key}")
        with (
            lake.exclusively("curation", context.log.info),
            curated(*shard_to_curate(lake, shard, settings), held_out, settings,
                    profile.compute.data, scratch) as result,
        ):  # fmt: skip
            result.require_some_left(context.partition_key, context.log.warning)
            lake.write("rejected_questions", result.rejected(), shard)
            lake.write("question_signatures", result.signatures(), shard)
            written = lake.write("questions", result.questions(), shard)
        domains = pc.value_counts(lake.read("questions", shard, ["domain"])["domain"]).to_pylist()
        return materialized(
            lake, written, shard,
            rejected=sum(result.n_rejected.values()),
            rejected_by_reason=result.n_rejected,
            per_domain={row["values"]: row["counts"] for row in domains},
        )  # fmt: skip

    return [raw_questions, benchmark_questions, questions]
