"""What has to hold before a release: sampled, evaluated, clean of evaluation questions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.questions.curation.decontamination import EvaluationGrams
from dasd_assets.questions.curation.shards import user_turns
from dasd_assets.release.folder import ReleaseError
from dasd_assets.reporting.metrics import OVERALL
from dasd_assets.reporting.stage_table import StageRow
from resources.engines.settings import SYNTHETIC

if TYPE_CHECKING:
    from dasd_assets.profile import Profile
    from resources.lake.lake import Lake

BASE = "base"
MAX_EXAMPLES = 5
ASKED = ["question_id", "question", "earlier_messages"]
"""Columns that say what a training row was an answer to."""


def require_evaluated(rows: Sequence[StageRow]) -> None:
    """Refuse a model that was not evaluated, or whose gain over the base student is unknown.

    Args:
        rows: the stage table; its last row is the model's.

    Raises:
        ReleaseError: naming the evaluations that are missing.
    """
    scores = {row.checkpoint: row.scores for row in rows}
    missing = [
        f"evaluation/{checkpoint} [{benchmark}]"
        for checkpoint in (BASE, rows[-1].checkpoint)
        for benchmark, score in scores[checkpoint].items()
        if score is None and benchmark != OVERALL
    ]
    if missing:
        raise ReleaseError(
            f"a model is not released without its evaluation: {', '.join(missing)} not in the "
            "lake. Materialize them first."
        )


def require_sampled(lake: Lake) -> None:
    """Refuse what rests on answers that no model gave (`kind: synthetic`, for rehearsals).

    Raises:
        ReleaseError: naming a partition that has some.
    """
    for partition in lake.partitions("teacher_responses"):
        for batch in lake.batches("teacher_responses", partition, ["engine"]):
            if pc.any(pc.equal(batch["engine"], SYNTHETIC)).as_py():
                raise ReleaseError(
                    f"teacher_responses {'/'.join(partition.values())}: answers are made up "
                    f"(engine {SYNTHETIC}), and nothing that rests on them is released"
                )


def require_clean(lake: Lake, profile: Profile) -> int:
    """Refuse training sets with questions that share an n-gram with an evaluation question.

    Curation rejects such questions; this looks at what is left in the sets themselves.

    Returns:
        Rows that were looked at.

    Raises:
        ReleaseError: naming the questions and what they share.
    """
    n_rows = 0
    mixed = () if profile.no_mixed_policy else ("mixed_policy_sample",)
    trained_on = ("divergence_sample", *mixed)

    def questions() -> Iterator[pa.RecordBatch]:
        nonlocal n_rows
        for table in trained_on:
            for partition in lake.partitions(table):
                for batch in lake.batches(table, partition, ASKED):
                    n_rows += batch.num_rows
                    yield batch

    ngram_words = profile.questions.decontamination_ngram_words
    found = contaminated(questions(), evaluation_questions(lake), ngram_words)
    if found:
        shown = "; ".join(f"{name}: {what}" for name, what in list(found.items())[:MAX_EXAMPLES])
        raise ReleaseError(
            f"{len(found)} questions of the training sets share {ngram_words} words with an "
            f"evaluation question: {shown}. Materialize questions, and all below, again."
        )
    return n_rows


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
