"""Evaluation questions in the training sets, after curation has rejected those it saw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from dasd_assets.questions.curation.decontamination import EvaluationGrams
from dasd_assets.questions.curation.shards import user_turns

if TYPE_CHECKING:
    from resources.lake.lake import Lake

TRAINED_ON: Final = ("divergence_sample", "mixed_policy_sample")
ASKED: Final = ["question_id", "question", "earlier_messages"]
"""Columns that say what a training row was an answer to."""


def training_questions(lake: Lake) -> Iterator[pa.RecordBatch]:
    """ASKED of every row that is trained on."""
    for table in TRAINED_ON:
        for partition in lake.partitions(table):
            yield from lake.batches(table, partition, ASKED)


def evaluation_questions(lake: Lake) -> pa.Table:
    """What must not be trained on."""
    return lake.read_partitions("benchmark_questions", ["question", "benchmark"])


def contaminated(
    batches: Iterable[pa.RecordBatch], held_out: pa.Table, ngram_words: int
) -> dict[str, str]:
    """question_id -> shared n-gram and its evaluation set, of the questions that share one.

    Args:
        batches: ASKED.
        held_out: columns question and benchmark.
    """
    found = {}
    grams = EvaluationGrams(held_out, ngram_words)
    for batch in batches:
        turns = map(user_turns, *(batch[name].to_pylist() for name in ASKED[1:]))
        for index, evidence in grams.matches_of_turns(list(turns)).items():
            found[batch["question_id"][index].as_py()] = evidence
    return found


def set_named(evidence: str) -> str:
    """The evaluation set that the evidence of a contamination ends with, in brackets."""
    return evidence.rsplit("(", 1)[-1].removesuffix(")")
