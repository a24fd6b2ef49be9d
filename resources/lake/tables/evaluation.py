"""Tables of the evaluation."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from resources.lake.table import LOGPROBS, TOKEN_IDS, Table, made, same, schema

CHECKPOINTS: Final = ("base", "low_temperature", "high_temperature", "dasd")
"""Evaluated checkpoints, in the order of the stages; all but the first are trained."""

EVALUATION = schema(
    ("answer_id", pa.string(), "content hash of the request (what shapes the answer)"),
    ("checkpoint", pa.string(), "checkpoint that answered"),
    ("benchmark", pa.string(), "name of the evaluation set"),
    ("question_id", pa.string(), "question that was asked"),
    ("domain", pa.string(), "which grader judged the answer"),
    ("sample_index", pa.int32(), "0-based index among the question's answers"),
    ("seed", pa.int64(), "seed of this request"),
    ("max_tokens", pa.int32(), "cap on new tokens"),
    ("finish_reason", pa.string(), "stop or length"),
    ("n_tokens", pa.int32(), "emitted tokens"),
    ("token_ids", TOKEN_IDS, "emitted token ids, the stop token included"),
    (
        "logprobs",
        LOGPROBS,
        "natural-log probability of each emitted token; null where the engine did not give one of "
        "each",
        True,
    ),
    ("text", pa.string(), "decoded text"),
    ("is_correct", pa.bool_(), "the grader's verdict"),
    (
        "verdict",
        pa.string(),
        "correct, what is wrong, no_final_answer, or unusable_reference: nobody can tell",
    ),
    ("extracted", pa.string(), "the part of the answer that was judged", True),
    ("detail", pa.string(), "what was found and what was expected, of a wrong answer", True),
)

EVALUATION_TEACHER_SCORES = schema(
    ("answer_id", pa.string(), "answer that was scored"),
    ("model", pa.string(), "the teacher"),
    ("model_revision", pa.string(), "content hash or hub revision of the teacher"),
    ("token_ids", TOKEN_IDS, "the answer in the teacher's own format, under its tokenizer"),
    ("logprobs", LOGPROBS, "natural-log probability of each token under the teacher"),
    (
        "token_starts",
        TOKEN_IDS,
        "byte of the answer's text in the student's format where the token's first non-space byte "
        "lies; -1: template token",
    ),
    ("left_out", pa.string(), "why the answer was not scored; then the lists are empty", True),
)

EVALUATION_PROVENANCE = schema(
    ("answer_id", pa.string(), "answer the sentence belongs to"),
    ("sentence_index", pa.int32(), "0-based position of the sentence in the answer"),
    ("part", pa.string(), "reasoning or answer"),
    ("sentence", pa.string(), "text of the sentence, the white space behind it included"),
    ("n_teacher_tokens", pa.int32(), "teacher tokens in the sentence"),
    ("n_student_tokens", pa.int32(), "student tokens in the sentence"),
    ("p_teacher", pa.float32(), "geometric mean of the teacher's token probabilities", True),
    ("p_student", pa.float32(), "geometric mean of the base student's token probabilities", True),
    ("p_distilled", pa.float32(), "geometric mean of the checkpoint's token probabilities", True),
    (
        "sentence_class",
        pa.string(),
        "shared, teacher, student, boosted or unscored (no token on one side)",
    ),
    ("segmenter", pa.string(), "name and version of what cut the text into sentences"),
)

_JUDGED = ("evaluation.text", "evaluation_teacher_scores.logprobs", "evaluation.logprobs")

TABLES: Final[dict[str, Table]] = {
    "evaluation": Table(
        EVALUATION,
        dimensions=("checkpoint", "benchmark"),
        ids=("question_id", "sample_index"),
        token_column="n_tokens",
        is_by_a_model=True,
        lineage={
            **same("benchmark_questions", "benchmark", "question_id", "domain"),
            **made("seed", "benchmark_questions.question_id"),
            **made(
                "answer_id finish_reason n_tokens token_ids logprobs text",
                "benchmark_questions.prompt",
            ),
            **made(
                "is_correct verdict extracted detail",
                "benchmark_questions.prompt",
                "benchmark_questions.answer",
            ),
        },
    ),
    "evaluation_teacher_scores": Table(
        EVALUATION_TEACHER_SCORES,
        dimensions=("checkpoint", "benchmark"),
        ids=("answer_id",),
        token_column="token_ids",
        is_by_a_model=True,
        lineage={
            **same("evaluation", "answer_id"),
            **made("token_ids token_starts left_out", "evaluation.token_ids"),
            **made("logprobs", "evaluation.token_ids", "benchmark_questions.prompt"),
        },
    ),
    "evaluation_provenance": Table(
        EVALUATION_PROVENANCE,
        dimensions=("checkpoint", "benchmark"),
        ids=("answer_id", "sentence_index"),
        token_column="n_student_tokens",
        is_by_a_model=True,
        lineage={
            **same("evaluation", "answer_id"),
            **made("sentence_index part sentence n_student_tokens", "evaluation.token_ids"),
            **made("n_teacher_tokens", "evaluation_teacher_scores.token_starts"),
            **made("p_teacher", "evaluation_teacher_scores.logprobs"),
            **made("p_student", "evaluation.token_ids", "benchmark_questions.prompt"),
            **made("p_distilled", "evaluation.logprobs"),
            **made("sentence_class", *_JUDGED, "benchmark_questions.prompt"),
        },
    ),
}
