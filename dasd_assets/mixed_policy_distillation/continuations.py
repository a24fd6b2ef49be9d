"""Teacher continuations: a cut-off rollout is cut in its second half and finished by the teacher.

The teacher sees the student's prefix in its own format, from exact prompt tokens: chat templates
drop earlier reasoning (paper sections 5 and 6.4.2).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.answering.earlier import row_id
from dasd_assets.answering.requests import complete_all, decode, request_seed, sampling_columns
from dasd_assets.mixed_policy_distillation.boundary import Boundary
from dasd_assets.mixed_policy_distillation.prefix import Prefix, teacher_prefix
from formats.answer_format import AnswerFormat, FormatError, whole_characters
from formats.chat import chat_of
from formats.model_format import ModelFormat
from resources.engines.prompts import encode_pieces
from resources.engines.protocol import GenerationRequest, InferenceEngine, Progress
from resources.lake.row_batches import batches
from resources.lake.tables.mixed_policy_distillation import STUDENT_ROLLOUTS, TEACHER_CONTINUATIONS

if TYPE_CHECKING:
    from resources.lake.lake import Lake, Partition

ABOUT_COLUMNS = [
    "rollout_id", "response_id", "question_id", "domain", "question", "earlier_messages",
]  # fmt: skip
ROLLOUT_COLUMNS = [*ABOUT_COLUMNS, "token_ids", "is_truncated", "broken_rules"]
"""All that a continuation needs of a rollout; at a boundary, its logprobs as well."""

RANDOM, ENTROPY = "random", "entropy"


@dataclass(frozen=True)
class Cut:
    """What is kept of a rollout."""

    prefix: Prefix
    fraction: float
    """Share of the rollout's tokens."""
    kind: str
    """How the cut was chosen: RANDOM or ENTROPY."""


def first_position(n_tokens: int, min_fraction: float) -> int:
    """The fewest tokens that are kept."""
    return math.floor(min_fraction * n_tokens) + 1


def cut_position(n_tokens: int, min_fraction: float, seed: int) -> int:
    """Tokens to keep: uniform over the positions beyond a share of the length, before the end.

    A rollout too short to have such a position is kept whole: `n_tokens`.
    """
    first = first_position(n_tokens, min_fraction)
    return random.Random(seed).randrange(first, n_tokens) if first < n_tokens else n_tokens


def cut_rollout(
    token_ids: npt.NDArray[np.int32],
    student: ModelFormat,
    teacher: AnswerFormat,
    min_fraction: float,
    seed: int,
    boundary: Boundary | None = None,
    logprobs: npt.NDArray[np.float32] | None = None,
) -> Cut:
    """Cut a rollout beyond a share of its tokens: at its boundary, or at random if it has none.

    Half a character at the cut is left out.

    Args:
        boundary: finds the boundary; None: the cut is at random.
        logprobs: of the tokens; only a boundary asks for them.

    Raises:
        FormatError: `no_place_in_format`: the teacher's format cannot hold what is kept.
    """
    token_bytes = student.token_bytes
    at_boundary = None
    if boundary and logprobs is not None:
        first = first_position(len(token_ids), min_fraction)
        at_boundary = boundary.position(token_ids, logprobs, token_bytes, first)
    position = at_boundary or cut_position(len(token_ids), min_fraction, seed)
    text_bytes = token_bytes.written(token_ids)
    n_kept = int(token_bytes.n_written_bytes[token_ids[:position]].sum())
    kept = whole_characters(text_bytes[:n_kept])
    discarded = whole_characters(text_bytes[len(kept.encode()) :])
    kind = ENTROPY if at_boundary else RANDOM
    prefix = teacher_prefix(kept, discarded, student.format, teacher)
    return Cut(prefix, position / len(token_ids), kind)


def to_continue(rollouts: pa.Table | pa.RecordBatch) -> pa.Table | pa.RecordBatch:
    """The rollouts that the cap cut off and that can be used."""
    usable = pc.equal(pc.list_value_length(rollouts["broken_rules"]), 0)
    return rollouts.filter(pc.and_(rollouts["is_truncated"], usable))


def read_to_continue(lake: Lake, shard: Partition, *, with_logprobs: bool = False) -> pa.Table:
    """A shard's rollouts that are `to_continue`, with ROLLOUT_COLUMNS; the others are streamed."""
    columns = [*ROLLOUT_COLUMNS, "logprobs"] if with_logprobs else ROLLOUT_COLUMNS
    return pa.Table.from_batches(
        map(to_continue, lake.batches("student_rollouts", shard, columns)),
        pa.schema([STUDENT_ROLLOUTS.field(name) for name in columns]),
    )


def continue_rollouts(
    rollouts: pa.Table,
    engine: InferenceEngine,
    student: ModelFormat,
    *,
    min_cut_fraction: float,
    temperature: float,
    max_tokens: int,
    system_prompt: str,
    reasoning_effort: str,
    seed: int,
    journal: Path,
    boundary: Boundary | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    earlier: Iterable[pa.RecordBatch] = (),
    template_date: date | None = None,
) -> Iterator[pa.RecordBatch]:
    """Let the teacher finish every truncated rollout.

    Args:
        rollouts: ROLLOUT_COLUMNS, with a boundary logprobs too; those that are not `to_continue`
            are left out.
        engine: the teacher's.
        student: how the rollouts were written.
        boundary: finds where a rollout is cut; None: all are cut at random.
        template_date: what the teacher's chat template prints as today's date.

    Returns:
        Batches with the schema TEACHER_CONTINUATIONS, in the order of `rollouts`; one that has no
        place in the teacher's format is left out. Every request is
        in memory until then; the texts are made again, one at a time, as the batches are taken.
    """
    chosen = to_continue(rollouts)
    teacher = engine.format.format

    def cuts() -> Iterator[tuple[dict[str, Any], Cut]]:
        for row, token_ids, logprobs in _rows(chosen, with_logprobs=boundary is not None):
            cut_seed = request_seed(seed, "cut", row["rollout_id"])
            try:
                cut = cut_rollout(
                    token_ids, student, teacher, min_cut_fraction, cut_seed, boundary, logprobs
                )
            except FormatError:  # the teacher's format has no reasoning, and the rollout has one
                continue
            yield row, cut

    requests = [
        GenerationRequest(
            prompt=engine.render(
                chat_of(row, system_prompt),
                reasoning_effort=reasoning_effort,
                template_date=template_date,
            ),
            prefix_token_ids=tuple(
                token
                for piece in encode_pieces(engine.tokenizer, cut.prefix.wire)
                for token_ids in piece
                for token in token_ids
            ),
            temperature=temperature,
            top_p=1.0,
            max_tokens=max_tokens,
            seed=request_seed(seed, "continuation", row["rollout_id"]),
        )
        for row, cut in cuts()
    ]
    completions = complete_all(engine, requests, journal, on_progress, earlier)
    continued = (
        {
            **row,
            "continuation_id": row_id("c", engine, request),
            **sampling_columns(engine, request, completion),
            "prefix_text": cut.prefix.student_text,
            "cut_part": cut.prefix.cut_part,
            "cut_fraction": cut.fraction,
            "cut_kind": cut.kind,
            "text": decode(engine, completion),
        }
        for (row, cut), request, completion in zip(cuts(), requests, completions, strict=True)
    )
    return batches(continued, TEACHER_CONTINUATIONS)


def _rows(
    rollouts: pa.Table, *, with_logprobs: bool
) -> Iterator[tuple[dict[str, Any], npt.NDArray[np.int32], npt.NDArray[np.float32] | None]]:
    """Rows of ABOUT_COLUMNS with their token ids, and their logprobs if these are asked for."""
    for batch in rollouts.to_batches():
        token_ids = batch["token_ids"]
        logprobs = batch["logprobs"] if with_logprobs else None
        for index, row in enumerate(batch.select(ABOUT_COLUMNS).to_pylist()):
            own = None if logprobs is None else logprobs[index].values.to_numpy()
            yield row, token_ids[index].values.to_numpy(), own
