"""Tables of the evaluation."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from resources.lake.table import TOKEN_IDS, Table, made, same, schema

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
            **made("answer_id finish_reason n_tokens token_ids text", "benchmark_questions.prompt"),
            **made(
                "is_correct verdict extracted detail",
                "benchmark_questions.prompt",
                "benchmark_questions.answer",
            ),
        },
    ),
}
