"""The teacher's probabilities of answers that came without: one pass over each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.answering.teacher_scores import Asked, asked_of, scores_of_teacher
from dasd_assets.answering.teacher_tokens import NoAnswerTextError, tokens_in_format
from dasd_assets.divergence_sampling.paired_batches import paired
from formats.answer_format import FormatError
from formats.chat import chat_of
from resources.engines.protocol import InferenceEngine, Progress
from resources.lake.tables.divergence_sampling import TEACHER_SCORES

SCORED_BY_TEACHER = [
    "response_id", "question", "earlier_messages", "reasoning", "answer", "teacher_logprobs",
]  # fmt: skip
"""What is read of the filtered responses."""
TEACHER_COLUMNS = ["response_id", "logprobs", "token_starts", "left_out"]
"""What the provenance reads of the scores."""

HAS_LOGPROBS = "has_logprobs"


def score_with_teacher(
    filtered: Iterable[pa.RecordBatch],
    n_responses: int,
    engine: InferenceEngine,
    *,
    system_prompt: str,
    reasoning_effort: str,
    template_date: date | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Logprob of every token of the responses that have none, in the teacher's own format.

    Args:
        filtered: batches of SCORED_BY_TEACHER.
        n_responses: rows of all batches, for the progress.
        engine: the teacher's.
        template_date: what its chat template prints as today's date.

    Returns:
        Batches with the schema TEACHER_SCORES, in the order of `filtered`.

    Raises:
        ContractError: a score is missing or not finite; the message names the response.
    """
    teacher = engine.format

    def ask(row: dict[str, Any], has_logprobs: bool) -> Asked:
        if has_logprobs:
            return Asked(left_out=HAS_LOGPROBS)
        reasoning, answer = row["reasoning"], row["answer"]
        try:
            wire = teacher.format.pieces(reasoning, answer)
            ids, starts = tokens_in_format(reasoning, answer, wire, teacher)
        except (NoAnswerTextError, FormatError) as error:
            return Asked(left_out=str(error))
        prompt = engine.render(
            chat_of(row, system_prompt),
            reasoning_effort=reasoning_effort, template_date=template_date,
        )  # fmt: skip
        return asked_of(engine, prompt, ids, starts)

    def ask_all(part: pa.Table) -> dict[str, Asked]:
        rows = part.drop_columns(["teacher_logprobs"]).to_pylist()
        has_logprobs = pc.is_valid(part["teacher_logprobs"]).to_pylist()
        return {
            row["response_id"]: ask(row, has_them)
            for row, has_them in zip(rows, has_logprobs, strict=True)
        }

    return scores_of_teacher(
        "teacher_scores", TEACHER_SCORES, filtered, n_responses, engine, ask_all, on_progress
    )


def with_scores(
    filtered: Iterable[pa.RecordBatch], scores: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Filtered responses with the scores of the teacher where they have no logprobs.

    Args:
        filtered: batches with response_id, teacher_logprobs, teacher_token_starts and
            n_teacher_tokens.
        scores: TEACHER_COLUMNS, for the same responses in the same order.

    Raises:
        ContractError: the rows do not match.
    """
    for responses, scored in paired(filtered, scores, right_table="teacher_scores"):
        is_scored = scored["left_out"].is_null()
        columns = {name: responses[name] for name in responses.schema.names}
        for name, of_scores in {
            "teacher_logprobs": scored["logprobs"],
            "teacher_token_starts": scored["token_starts"],
            "n_teacher_tokens": scored["logprobs"].value_lengths(),
        }.items():
            columns[name] = _chosen(is_scored, of_scores, columns[name])
        yield pa.RecordBatch.from_arrays(list(columns.values()), schema=responses.schema)


def _chosen(condition: pa.BooleanArray, one: pa.Array, other: pa.Array) -> pa.Array:
    """Values of one where the condition holds, else of the other; `if_else` takes no lists."""
    n = len(condition)
    place = pc.if_else(condition, pa.array(range(n)), pa.array(range(n, 2 * n)))
    return pa.concat_arrays([one.cast(other.type), other]).take(place)
