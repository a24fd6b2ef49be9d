"""Provenance of one partition: read, worked on and written in one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.divergence_sampling.provenance import (
    FILTERED_COLUMNS,
    SCORE_COLUMNS,
    sentence_provenance,
)
from dasd_assets.divergence_sampling.read_ahead import read_ahead
from dasd_assets.divergence_sampling.sentences import Segmenter
from dasd_assets.divergence_sampling.teacher_scoring import TEACHER_COLUMNS, with_scores
from dasd_assets.profile import ClassRule
from resources.lake.table import ContractError
from resources.lake.tables.divergence_sampling import RESPONSE_PROVENANCE

if TYPE_CHECKING:
    from resources.lake.lake import Lake, Partition, Written


def write_provenance(
    lake: Lake,
    cell: Partition,
    rule: ClassRule,
    segmenter: Segmenter,
    *,
    with_teacher_scores: bool = False,
) -> tuple[Written, dict[str, Any]]:
    """Classify the sentences of one partition and write both tables of it.

    Of the responses one short row each stays in memory (about 100 bytes) until they are written;
    everything else is there for a few row groups at a time.

    Args:
        with_teacher_scores: responses without the teacher's logprobs have them in `teacher_scores`.

    Returns:
        What was written as `sentence_provenance`, and counts for its metadata.

    Raises:
        ContractError: see `sentence_provenance`; or a response is there twice.
    """
    responses: list[pa.RecordBatch] = []
    counts: Counter[str] = Counter()

    def sentences() -> Iterator[pa.RecordBatch]:
        filtered = lake.batches("filtered_responses", cell, FILTERED_COLUMNS)
        if with_teacher_scores:
            found = lake.batches("teacher_scores", cell, TEACHER_COLUMNS)
            filtered = with_scores(filtered, found)
        blocks = sentence_provenance(
            read_ahead(filtered),
            read_ahead(lake.batches("student_scores", cell, SCORE_COLUMNS)),
            rule,
            segmenter,
        )
        for block in blocks:
            responses.append(block.responses)
            for row in pc.value_counts(block.sentences["sentence_class"]).to_pylist():
                counts[row["values"]] += row["counts"]
            yield block.sentences
        # Written before the main table is there: its presence means that both are.
        table = pa.Table.from_batches(responses, RESPONSE_PROVENANCE)
        _require_unique(table)
        lake.write("response_provenance", table, cell)

    written = lake.write("sentence_provenance", read_ahead(sentences()), cell)
    return written, {
        "responses": sum(batch.num_rows for batch in responses),
        "sentence_classes": dict(counts),
        "segmenter": f"{segmenter.name} {segmenter.version}",
    }


def _require_unique(responses: pa.Table) -> None:
    counts = responses.group_by("response_id").aggregate([([], "count_all")])
    twice = counts.filter(pc.greater(counts["count_all"], 1))["response_id"].to_pylist()
    if twice:
        raise ContractError(
            f"filtered_responses: {len(twice)} responses are there more than once, for example "
            f"{twice[0]}"
        )
