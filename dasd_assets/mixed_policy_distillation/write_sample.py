"""The mixed-policy sample as the lake gets it: read, finished, mixed and written in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dasd_assets.mixed_policy_distillation.mixed_sample import (
    CONTINUATION_COLUMNS,
    OFF_POLICY_COLUMNS,
    finish_continuations,
    off_policy_choice,
    off_policy_rows,
)
from dasd_assets.profile import ResponseFiltering

if TYPE_CHECKING:
    from resources.lake import Lake, Written


@dataclass(frozen=True)
class MixedSample:
    """What was written, and how many continuations were kept and rejected."""

    written: Written
    n_mixed: int
    n_rejected: int


def write_mixed_sample(
    lake: Lake,
    student_tokenizer: Any,
    settings: ResponseFiltering,
    system_prompt: str,
    *,
    n_off_policy: int,
    distinct_questions: bool,
    seed: int,
) -> MixedSample:
    """Finish, filter and mix what is in the lake, and write `mixed_policy_sample` as it comes.

    A row group of texts is in memory at a time. Beside it: the ids of all divergence samples, the
    question of each finished answer, and a short row of each rejected one.
    """
    rejected: list[pa.RecordBatch] = []
    questions: list[pa.Array] = []

    def rows() -> Iterator[pa.RecordBatch]:
        for partition in lake.partitions("teacher_continuations"):
            for batch in lake.batches("teacher_continuations", partition, CONTINUATION_COLUMNS):
                finished = finish_continuations(
                    pa.Table.from_batches([batch]), student_tokenizer, settings, system_prompt
                )
                rejected.extend(finished.rejected.to_batches())
                questions.extend(finished.kept["question_id"].chunks)
                yield from finished.kept.to_batches()
        # Written before the main table is there: its presence means that both are.
        lake.write("rejected_continuations", rejected)
        taken = pa.chunked_array(questions if distinct_questions else [], pa.string())
        ids = lake.read_partitions("divergence_sample", ["response_id", "question_id"])
        chosen = off_policy_choice(ids, taken, n_off_policy, seed)
        for partition in lake.partitions("divergence_sample"):
            batches = lake.batches("divergence_sample", partition, OFF_POLICY_COLUMNS)
            yield from off_policy_rows(batches, chosen)

    written = lake.write("mixed_policy_sample", rows())
    return MixedSample(written, sum(map(len, questions)), sum(batch.num_rows for batch in rejected))
