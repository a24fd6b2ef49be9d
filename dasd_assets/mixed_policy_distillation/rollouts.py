"""Student rollouts: the stage-2 student answers, capped by the teacher's length (section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.answering.earlier import row_id
from dasd_assets.answering.requests import complete_all, decode, request_seed, sampling_columns
from dasd_assets.divergence_sampling.policies import random_order
from dasd_assets.mixed_policy_distillation.usable import unusable
from formats.chat import chat_of
from resources.engines.protocol import Completion, GenerationRequest, InferenceEngine, Progress
from resources.lake.row_batches import batches
from resources.lake.table import ContractError
from resources.lake.tables.divergence_sampling import DIVERGENCE_SAMPLE
from resources.lake.tables.mixed_policy_distillation import STUDENT_ROLLOUTS

if TYPE_CHECKING:
    from resources.lake.lake import Lake

ID_COLUMNS = ["question_id", "response_id", "question_shard"]
QUESTION_COLUMNS = [
    "response_id", "question_id", "domain", "question", "earlier_messages", "n_student_tokens",
]  # fmt: skip
"""All that a rollout needs of a divergence sample: its answers' texts stay on the disk."""


def sample_rollout_questions(sample: pa.Table, n: int, seed: int) -> pa.Table:
    """Choose questions of the divergence sample at random, one response each.

    The choice goes by a seeded hash of the ids, so that it does not depend on the order of the
    rows, and a new shard only displaces as many questions as it brings.

    Args:
        sample: question_id and response_id (other columns are kept) of all temperatures.
        n: questions to choose; all, if there are fewer.

    Returns:
        Rows of `sample`, ordered by the hash.
    """
    questions = sample["question_id"].combine_chunks().dictionary_encode()
    of_question = pa.table({"response_id": questions.dictionary})
    code = questions.indices.to_numpy()
    order = np.lexsort(
        (random_order(sample, seed, "rollout"), random_order(of_question, seed, "rollout")[code])
    )
    _, first = np.unique(code[order], return_index=True)
    return sample.take(pa.array(order[np.sort(first)[:n]]))


def chosen_questions(lake: Lake, question_shard: str, n: int, seed: int) -> pa.Table:
    """The rows of the divergence samples that this shard's rollouts answer (QUESTION_COLUMNS).

    All shards' ids are read for the choice, and of what is chosen no more than a question needs.

    Raises:
        ContractError: the divergence samples were written anew meanwhile.
    """
    ids = lake.read_partitions("divergence_sample", ID_COLUMNS).select(ID_COLUMNS)
    chosen = sample_rollout_questions(ids, n, seed)
    mine = chosen.filter(pc.equal(chosen["question_shard"], question_shard))["response_id"]
    wanted = mine.combine_chunks()
    rows = pa.Table.from_batches(
        (
            batch.filter(pc.is_in(batch["response_id"], wanted))
            for partition in lake.partitions("divergence_sample")
            for batch in lake.batches("divergence_sample", partition, QUESTION_COLUMNS)
        ),
        pa.schema([DIVERGENCE_SAMPLE.field(name) for name in QUESTION_COLUMNS]),
    )
    if rows.num_rows != len(wanted):
        raise ContractError(
            f"student_rollouts {question_shard}: {len(wanted)} answers were chosen, but "
            f"{rows.num_rows} found: the divergence samples changed meanwhile. Materialize the "
            "rollouts again."
        )
    return rows.take(pc.index_in(wanted, rows["response_id"].combine_chunks()))


def rollout_cap(n_teacher_response_tokens: int, cap_ratio: float) -> int:
    """New tokens a rollout may have: 1.5 x the teacher response's length in student tokens."""
    return max(1, int(n_teacher_response_tokens * cap_ratio))


def sample_rollouts(
    chosen: pa.Table,
    engine: InferenceEngine,
    *,
    cap_ratio: float,
    temperature: float,
    system_prompt: str,
    seed: int,
    journal: Path,
    on_progress: Callable[[Progress], None] | None = None,
    earlier: Iterable[pa.RecordBatch] = (),
) -> Iterator[pa.RecordBatch]:
    """Let the student answer, each answer with its own cap.

    Args:
        chosen: QUESTION_COLUMNS of the answers whose lengths set the caps, one per question.
        engine: the stage-2 student's.

    Returns:
        Batches with the schema STUDENT_ROLLOUTS, in the order of `chosen`. Every rollout is
        kept; one that cannot be used has its `broken_rules`.
    """
    rows = chosen.select(QUESTION_COLUMNS).to_pylist()
    requests = [
        GenerationRequest(
            prompt=engine.render(chat_of(row, system_prompt)),
            temperature=temperature,
            top_p=1.0,
            max_tokens=rollout_cap(row["n_student_tokens"], cap_ratio),
            seed=request_seed(seed, "rollout", row["question_id"]),
        )
        for row in rows
    ]
    completions = complete_all(engine, requests, journal, on_progress, earlier)
    rollouts = (
        {
            "rollout_id": row_id("o", engine, request),
            "response_id": row["response_id"],
            "question_id": row["question_id"],
            "domain": row["domain"],
            "question": row["question"],
            "earlier_messages": row["earlier_messages"],
            **sampling_columns(engine, request, completion),
            "n_teacher_response_tokens": row["n_student_tokens"],
            "is_truncated": _hit_cap(request, completion),
            "broken_rules": unusable(completion, engine.format),
            "text": decode(engine, completion),
        }
        for row, request, completion in zip(rows, requests, completions, strict=True)
    )
    return batches(rollouts, STUDENT_ROLLOUTS)


def _hit_cap(request: GenerationRequest, completion: Completion | None) -> bool:
    """Whether it was our cap that ended the answer, not a server's own."""
    return (
        completion is not None
        and completion.finish_reason == "length"
        and len(completion.token_ids) == request.max_tokens
    )
