"""Curating a shard that is a table, into tables."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from dasd_assets.profile import Questions
from dasd_assets.questions.curation.curate import curated
from dasd_assets.questions.curation.index.question_index import QuestionIndex
from dasd_assets.questions.curation.shards import OtherShard, Shard
from resources.compute.declared import Compute
from resources.lake.lake import Lake
from resources.lake.tables.questions import (
    BENCHMARK_QUESTIONS,
    QUESTION_SIGNATURES,
    QUESTIONS,
    REJECTED_QUESTIONS,
)


@dataclass(frozen=True)
class Result:
    """The three tables of a curated shard."""

    questions: pa.Table
    rejected: pa.Table
    signatures: pa.Table


def settings_of(**settings: Any) -> Questions:
    """Settings of curation, the rest as by default."""
    return Questions(inbox="inbox", **settings)


def curate(
    rows: pa.Table,
    settings: Questions,
    *,
    others: Mapping[str, pa.Table | Result] | None = None,
    held_out: pa.Table | None = None,
    order: int | None = None,
    warn: Callable[[str], None] | None = None,
    lake: Lake | None = None,
) -> Result:
    """Curate rows.

    Args:
        rows: RAW_QUESTIONS.
        settings: settings of curation.
        others: the other shards in their order from 1, with or without signatures.
        held_out: BENCHMARK_QUESTIONS.
        order: the place of this shard; default: behind all others.
        warn: is told of a drop of which no question stays; unset: nobody looks for that.
        lake: where the index is kept; default: nowhere.
    """
    other_shards = []
    for place, (name, other) in enumerate((others or {}).items(), 1):
        questions = other.questions if isinstance(other, Result) else other
        signatures = (
            other.signatures if isinstance(other, Result) else QUESTION_SIGNATURES.empty_table()
        )
        if signatures.num_rows:
            place = signatures["curation_order"][0].as_py()
        other_shards.append(
            OtherShard(name, place, _version(other), questions.to_batches, signatures.to_batches)
        )
    shard = Shard(rows.to_batches, len(other_shards) + 1 if order is None else order)
    if held_out is None:
        held_out = BENCHMARK_QUESTIONS.empty_table()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder, "scratch")
        index = QuestionIndex(lake or Lake(root=folder), settings)
        index.compare_with(other_shards, shard.order)
        with curated(shard, index, held_out, settings, Compute(memory_gib=1), scratch) as result:
            if warn is not None:
                result.require_some_left("the-drop", warn)
            tables = Result(
                pa.Table.from_batches(result.questions(), QUESTIONS),
                pa.Table.from_batches(result.rejected(), REJECTED_QUESTIONS),
                pa.Table.from_batches(result.signatures(), QUESTION_SIGNATURES),
            )
            assert sum(result.n_rejected.values()) == tables.rejected.num_rows
        assert not scratch.exists()
    return tables


def _version(other: pa.Table | Result) -> str:
    tables = (other.questions, other.signatures) if isinstance(other, Result) else (other,)
    return str([table.to_pylist() for table in tables])
