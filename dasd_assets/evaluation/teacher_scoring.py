"""The teacher's view of a checkpoint's own answers: one pass over each (arXiv 2512.20908)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.answering.teacher_scores import Asked, asked_of, scores_of_teacher
from dasd_assets.evaluation.answer_texts import (
    Integers,
    NoAnswerTextError,
    answer_text,
    teacher_tokens,
)
from formats.chat import chat
from formats.model_format import ModelFormat
from resources.engines.protocol import InferenceEngine, Progress
from resources.lake.tables.evaluation import EVALUATION_TEACHER_SCORES

if TYPE_CHECKING:
    from resources.lake.lake import Lake, Partition

ANSWER_COLUMNS = [
    "answer_id", "question_id", "sample_index", "finish_reason", "token_ids", "logprobs",
]  # fmt: skip
"""What is read of the evaluation."""

NO_LOGPROBS = "no_logprobs"


@dataclass(frozen=True)
class Answers:
    """The answers of one partition that are looked at.

    Attributes:
        batches: ANSWER_COLUMNS.
        n_answers: rows of all batches.
        prompts: question_id -> what was asked.
    """

    batches: Iterable[pa.RecordBatch]
    n_answers: int
    prompts: Mapping[str, str]


def read_answers(lake: Lake, partition: Partition, answers_per_question: int) -> Answers:
    """The first answers of a checkpoint to each question of an evaluation set."""
    benchmark = {"benchmark": partition["benchmark"]}
    questions = lake.read("benchmark_questions", benchmark, ["question_id", "prompt"])
    index = lake.read("evaluation", partition, ["sample_index"])["sample_index"]
    return Answers(
        (
            batch.filter(pc.less(batch["sample_index"], answers_per_question))
            for batch in lake.batches("evaluation", partition, ANSWER_COLUMNS)
        ),
        pc.sum(pc.less(index, answers_per_question)).as_py() or 0,
        dict(zip(*(column.to_pylist() for column in questions.columns), strict=True)),
    )


def left_out(lake: Lake, partition: Partition) -> dict[str, int]:
    """Reason -> answers that the teacher was not asked about."""
    reasons = lake.read("evaluation_teacher_scores", partition, ["left_out"])["left_out"]
    counts = reasons.drop_null().value_counts().to_pylist()
    return {count["values"]: count["counts"] for count in counts}


def score_answers(
    answers: Answers,
    engine: InferenceEngine,
    student: ModelFormat,
    *,
    system_prompt: str,
    reasoning_effort: str,
    on_progress: Callable[[Progress], None] | None = None,
    template_date: date | None = None,
) -> Iterator[pa.RecordBatch]:
    """Logprob of every token of every answer under the teacher, in the teacher's own format.

    An answer without the checkpoint's own logprobs, without text, or beyond the teacher's context
    is left out, with its reason.

    Args:
        engine: the teacher's.
        student: how the answers were written.
        template_date: what the teacher's chat template prints as today's date.

    Returns:
        Batches with the schema EVALUATION_TEACHER_SCORES, in the order of `answers`.

    Raises:
        ContractError: a score is missing or not finite.
    """
    teacher = engine.format

    def ask(row: dict[str, Any], token_ids: Integers, has_logprobs: bool) -> Asked:
        if not has_logprobs:
            return Asked(left_out=NO_LOGPROBS)
        try:
            text = answer_text(token_ids, student, teacher.format)
            wire_ids, starts = teacher_tokens(text, teacher)
        except NoAnswerTextError as error:
            return Asked(left_out=str(error))
        messages = chat(system_prompt, answers.prompts[row["question_id"]])
        prompt = engine.render(
            messages, reasoning_effort=reasoning_effort, template_date=template_date
        )
        return asked_of(engine, prompt, wire_ids, starts)

    def ask_all(part: pa.Table) -> dict[str, Asked]:
        rows = part.select(["answer_id", "question_id"]).to_pylist()
        has_logprobs = pc.is_valid(part["logprobs"]).to_pylist()
        return {
            row["answer_id"]: ask(row, ids.values.to_numpy(), has_them)
            for row, ids, has_them in zip(rows, part["token_ids"], has_logprobs, strict=True)
        }

    return scores_of_teacher(
        "evaluation_teacher_scores", EVALUATION_TEACHER_SCORES, answers.batches,
        answers.n_answers, engine, ask_all, on_progress,
    )  # fmt: skip
