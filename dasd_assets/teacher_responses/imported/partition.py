"""The imported answers of one partition: read from the drop, written with what is quarantined."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.profile import Layout
from dasd_assets.questions.inbox.listing import drop_of_shard, local_drop
from dasd_assets.teacher_responses.imported.checking import (
    AnswerReader,
    imported_answers,
    quarantine_table,
)
from dasd_assets.teacher_responses.imported.delivered import delivered_answers
from formats.model_format import ModelFormat

if TYPE_CHECKING:
    from resources.lake.lake import Lake, Written

FACTS = ["has_answer_tokens", "has_end_token"]


def write_imported(
    lake: Lake,
    cell: dict[str, str],
    *,
    inbox: Path,
    layout: Layout | None,
    max_row_bytes: int,
    domains: Collection[str],
    writer: ModelFormat | None,
) -> tuple[Written, dict[str, Any]]:
    """Write both tables of one temperature and question_shard.

    Args:
        layout: of the shard's drop.
        domains: those of the profile.
        writer: whose tokenizer the token ids are of, if the layout has them.

    Returns:
        What was written as `imported_answers`, and counts for its metadata.

    Raises:
        InboxError: the drop is gone.
        DropError: it cannot be read.
    """
    shard, temperature = cell["question_shard"], cell["temperature"]
    scratch = Path(lake.root, "_scratch", f"imported_answers__{temperature}__{shard}")
    quarantined: list[dict[str, Any]] = []

    def rows() -> Iterator[pa.RecordBatch]:
        if layout and layout.answers and temperature in layout.answers.temperatures:
            token_bytes = writer.token_bytes if writer else None
            reader = AnswerReader(layout, max_row_bytes, domains, token_bytes)
            with local_drop(drop_of_shard(inbox, shard), scratch / "drop") as drop:
                delivered = delivered_answers(
                    drop, layout, temperature, max_row_bytes, scratch / "tokens"
                )
                yield from imported_answers(delivered, reader, quarantined)
        # Written before the main table is there: its presence means that both are.
        lake.write("quarantined_answers", quarantine_table(quarantined), cell)

    try:
        written = lake.write("imported_answers", rows(), cell)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    facts = lake.read("imported_answers", cell, FACTS)
    return written, {
        "quarantined": len(quarantined),
        "quarantine_reasons": dict(Counter(row["reason"] for row in quarantined)),
        "without_tokens": facts["has_end_token"].null_count,
        "tokens_of_the_reasoning_alone": _n_false(facts["has_answer_tokens"]),
        "without_end_token": _n_false(facts["has_end_token"]),
    }


def _n_false(column: pa.ChunkedArray) -> int:
    return pc.sum(pc.equal(column, False)).as_py() or 0
