"""Whose sentences a distilled model writes: its own answers, judged by three models.

Analysis after training (arXiv 2512.20908; the report's Figs. 5 and 6): the checkpoint's answers to
evaluation questions are cut into sentences, and each has the probability that the teacher T, the
student before distillation S and the checkpoint D give it. Nothing is selected by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.answering.scoring import as_lists, scored_slices
from dasd_assets.divergence_sampling.paired_batches import paired
from dasd_assets.divergence_sampling.provenance import probabilities, side_of
from dasd_assets.divergence_sampling.sentence_tokens import Floats
from dasd_assets.divergence_sampling.sentences import Segmenter, sentence_spans
from dasd_assets.evaluation.answer_texts import AnswerText, answer_text
from dasd_assets.evaluation.teacher_scoring import Answers
from dasd_assets.profile import EvaluationProvenance
from formats.chat import chat
from formats.student_text import student_text
from resources.engines.protocol import InferenceEngine, Progress, ScoringRequest
from resources.lake.table import TOKEN_IDS
from resources.lake.tables.evaluation import EVALUATION_PROVENANCE

CLASSES = ("shared", "teacher", "student", "boosted", "unscored")

TEACHER_COLUMNS = ["answer_id", "logprobs", "token_starts", "left_out"]
"""What is read of the teacher's scores."""


def answer_classes(
    p_teacher: Floats, p_student: Floats, p_distilled: Floats, alpha: float, beta: float
) -> npt.NDArray[np.int64]:
    """Place of each sentence's class in CLASSES, in the order of arXiv 2512.20908.

    Shared if all three probabilities are within alpha of each other; else Teacher if
    p_T - p_S > beta, Student if p_S - p_T > beta, Boosted otherwise. Unscored where one is NaN.
    """
    together = np.stack([p_teacher, p_student, p_distilled])
    is_shared = together.max(axis=0) - together.min(axis=0) <= alpha
    return np.select(
        [
            np.isnan(together).any(axis=0),
            is_shared,
            p_teacher - p_student > beta,
            p_student - p_teacher > beta,
        ],
        [4, 0, 1, 2],
        default=3,
    )


def answer_provenance(
    answers: Answers,
    teacher_scores: Iterable[pa.RecordBatch],
    engine: InferenceEngine,
    *,
    settings: EvaluationProvenance,
    segmenter: Segmenter,
    system_prompt: str,
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Classify every sentence of a checkpoint's answers.

    Args:
        teacher_scores: batches of TEACHER_COLUMNS of the same answers in the same order.
        engine: that of the student before distillation. It scores the very tokens that the
            checkpoint sampled.

    Returns:
        Batches with the schema EVALUATION_PROVENANCE, in the order of `answers`; those that the
        teacher left out have no sentence.

    Raises:
        ContractError: the two do not match, or a score is missing or not finite.
    """
    student = engine.format

    def requests_of(part: pa.Table) -> list[ScoringRequest]:
        return [
            ScoringRequest(
                row["response_id"],
                engine.render(chat(system_prompt, answers.prompts[row["question_id"]])).token_ids,
                tuple(row["token_ids"]),
            )
            for row in part.select(["response_id", "question_id", "token_ids"]).to_pylist()
        ]

    joined = _joined(answers.batches, teacher_scores)
    slices = scored_slices(
        "evaluation_provenance", joined, answers.n_answers, engine, requests_of, on_progress
    )
    for part, _, scores in slices:
        rows = part.combine_chunks().to_batches()
        if not rows:
            continue
        texts = [
            answer_text(ids.values.to_numpy(), student, student.format)
            for ids in rows[0]["token_ids"]
        ]
        by_student = as_lists([one.logprobs for one in scores], rows[0]["logprobs"].type)
        yield _sentences(rows[0], texts, by_student, settings, segmenter)


def _joined(
    answers: Iterable[pa.RecordBatch], teacher_scores: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """The answers that the teacher scored, with its scores beside them."""
    pairs = paired(
        map(_with_response_id, answers), map(_with_response_id, teacher_scores),
        "evaluation", "evaluation_teacher_scores",
    )  # fmt: skip
    for answered, scored in pairs:
        columns = {name: answered[name] for name in answered.schema.names} | {
            "teacher_logprobs": scored["logprobs"],
            "teacher_token_starts": scored["token_starts"],
        }
        yield pa.record_batch(columns).filter(pc.is_null(scored["left_out"]))


def _with_response_id(batch: pa.RecordBatch) -> pa.RecordBatch:
    names = [name.replace("answer_id", "response_id") for name in batch.schema.names]
    return batch.rename_columns(names)


def _sentences(
    rows: pa.RecordBatch,
    texts: list[AnswerText],
    student_logprobs: pa.ListArray,
    settings: EvaluationProvenance,
    segmenter: Segmenter,
) -> pa.RecordBatch:
    starts = as_lists([text.token_starts for text in texts], TOKEN_IDS)
    rows = rows.append_column("token_starts", starts)
    rows = rows.append_column("student_logprobs", student_logprobs)
    spans = sentence_spans(
        rows["response_id"],
        pa.array([text.reasoning for text in texts]),
        pa.array([text.answer for text in texts]),
        segmenter,
    )
    teacher = side_of(rows, "teacher_token_starts", "teacher_logprobs", spans)
    student = side_of(rows, "token_starts", "student_logprobs", spans)
    distilled = side_of(rows, "token_starts", "logprobs", spans)
    p_teacher, p_student, p_distilled = (
        probabilities(side.log_mean, side.tokens.count == 0)
        for side in (teacher, student, distilled)
    )
    by_teacher, by_student, by_checkpoint = (
        pc.fill_null(p, float("nan")).to_numpy().astype(np.float64)
        for p in (p_teacher, p_student, p_distilled)
    )
    kind = answer_classes(by_teacher, by_student, by_checkpoint, settings.alpha, settings.beta)
    encoded = [student_text(text.reasoning, text.answer).encode() for text in texts]
    cut = zip(spans.response.tolist(), spans.start.tolist(), spans.end.tolist(), strict=True)
    return pa.RecordBatch.from_arrays(
        [
            rows["response_id"].take(pa.array(spans.response)),
            pa.array(spans.index, pa.int32()),
            pa.array(["reasoning", "answer"]).take(pa.array(spans.is_answer.astype(np.int8))),
            pa.array([encoded[index][start:end].decode() for index, start, end in cut]),
            pa.array(teacher.tokens.count, pa.int32()),
            pa.array(student.tokens.count, pa.int32()),
            p_teacher,
            p_student,
            p_distilled,
            pa.array(CLASSES).take(pa.array(kind)),
            pa.repeat(f"{segmenter.name} {segmenter.version}", len(kind)),
        ],
        schema=EVALUATION_PROVENANCE,
    )
