"""The teacher's view of a checkpoint's own answers: one pass over each (arXiv 2512.20908)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.answering.scoring import as_lists, scored_slices
from dasd_assets.evaluation.answer_texts import (
    Integers,
    NoAnswerTextError,
    answer_text,
    teacher_tokens,
)
from formats.chat import chat
from formats.model_format import ModelFormat
from resources.engines.protocol import (
    GenerationRequest,
    InferenceEngine,
    Progress,
    Prompt,
    ScoringRequest,
)
from resources.lake.table import LOGPROBS, TOKEN_IDS
from resources.lake.tables.evaluation import EVALUATION_TEACHER_SCORES

if TYPE_CHECKING:
    from resources.lake.lake import Lake, Partition

ANSWER_COLUMNS = [
    "answer_id", "question_id", "sample_index", "finish_reason", "token_ids", "logprobs",
]  # fmt: skip
"""What is read of the evaluation."""

NO_LOGPROBS = "no_logprobs"
BEYOND_CONTEXT = "beyond_context"

_NO_TOKENS = np.empty(0, np.int32)


class _Asked(NamedTuple):
    """One answer in the teacher's format, or why it is left out."""

    prompt: Prompt | None = None
    token_ids: Integers = _NO_TOKENS
    token_starts: Integers = _NO_TOKENS
    left_out: str | None = None


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
    asked: dict[str, _Asked] = {}

    def ask(row: dict[str, Any], token_ids: Integers, has_logprobs: bool) -> _Asked:
        if not has_logprobs:
            return _Asked(left_out=NO_LOGPROBS)
        try:
            text = answer_text(token_ids, student, teacher.format)
            wire_ids, starts = teacher_tokens(text, teacher)
        except NoAnswerTextError as error:
            return _Asked(left_out=str(error))
        messages = chat(system_prompt, answers.prompts[row["question_id"]])
        prompt = engine.render(
            messages, reasoning_effort=reasoning_effort, template_date=template_date
        )
        whole = GenerationRequest(
            prompt, prefix_token_ids=tuple(wire_ids.tolist()),
            temperature=1.0, top_p=1.0, max_tokens=1, seed=0,
        )  # fmt: skip
        if engine.check(whole):
            return _Asked(left_out=BEYOND_CONTEXT)
        return _Asked(prompt, wire_ids, starts)

    def requests_of(part: pa.Table) -> list[ScoringRequest]:
        asked.clear()
        rows = part.select(["answer_id", "question_id"]).to_pylist()
        has_logprobs = pc.is_valid(part["logprobs"]).to_pylist()
        for row, ids, has_them in zip(rows, part["token_ids"], has_logprobs, strict=True):
            asked[row["answer_id"]] = ask(row, ids.values.to_numpy(), has_them)
        return [
            ScoringRequest(key, one.prompt.token_ids, tuple(one.token_ids.tolist()))
            for key, one in asked.items()
            if one.prompt is not None
        ]

    identity = engine.identity
    slices = scored_slices(
        "evaluation_teacher_scores", answers.batches, answers.n_answers, engine, requests_of,
        on_progress,
    )  # fmt: skip
    for part, _, scores in slices:
        logprobs = {one.key: one.logprobs for one in scores}
        rows = [asked[name] for name in part["answer_id"].to_pylist()]
        yield pa.RecordBatch.from_arrays(
            [
                part["answer_id"].combine_chunks(),
                pa.repeat(identity.model, len(rows)),
                pa.repeat(identity.revision, len(rows)),
                as_lists([row.token_ids for row in rows], TOKEN_IDS),
                as_lists(
                    [logprobs.get(key, _NO_TOKENS) for key in part["answer_id"].to_pylist()],
                    LOGPROBS,
                ),
                as_lists([row.token_starts for row in rows], TOKEN_IDS),
                pa.array([row.left_out for row in rows], pa.string()),
            ],
            schema=EVALUATION_TEACHER_SCORES,
        )
