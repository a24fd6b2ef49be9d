"""Tables of response filtering."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from resources.lake.table import (
    BROKEN_RULES,
    CELL,
    LOGPROBS,
    TOKEN_IDS,
    Table,
    columns,
    made,
    same,
    schema,
)
from resources.lake.tables.teacher_responses import TEACHER_RESPONSES, UNKNOWN

FILTERED_RESPONSES = schema(
    *columns(
        TEACHER_RESPONSES,
        (
            "response_id",
            "question_id",
            "domain",
            "question",
            "earlier_messages",
            "sample_index",
            "logprobs_mode",
        ),
    ),
    ("reasoning", pa.string(), "the analysis channel"),
    ("answer", pa.string(), "the final channel"),
    (
        "response_text",
        pa.string(),
        "canonical text in the student's format: <think>…</think> answer",
    ),
    ("n_teacher_tokens", pa.int32(), f"tokens the teacher emitted{UNKNOWN}", True),
    ("n_student_tokens", pa.int32(), "length under the student's tokenizer, end token included"),
    ("teacher_logprobs", LOGPROBS, f"the teacher's logprobs, as sampled{UNKNOWN}", True),
    (
        "teacher_token_starts",
        TOKEN_IDS,
        "byte of response_text where the token's first non-space byte lies; -1: template token"
        + UNKNOWN,
        True,
    ),
    ("is_correct", pa.bool_(), "whether the final answer is right; null: not judged", True),
)

REJECTED_RESPONSES = schema(
    *columns(TEACHER_RESPONSES, ("response_id", "question_id", "domain", "sample_index")),
    (
        "broken_rules",
        BROKEN_RULES,
        "every rule the answer breaks, with the evidence",
    ),
)

TABLES: Final[dict[str, Table]] = {
    "filtered_responses": Table(
        FILTERED_RESPONSES,
        dimensions=CELL,
        ids=("response_id",),
        token_column="n_student_tokens",
        lineage={
            **same(
                "teacher_responses",
                "response_id",
                "question_id",
                "domain",
                "question",
                "earlier_messages",
                "sample_index",
                "logprobs_mode",
            ),
            **made(
                "reasoning answer response_text n_student_tokens teacher_token_starts",
                "teacher_responses.token_ids",
                "teacher_responses.text",
            ),
            **made("n_teacher_tokens", "teacher_responses.token_ids"),
            **made("teacher_logprobs", "teacher_responses.logprobs"),
        },
    ),
    "rejected_responses": Table(
        REJECTED_RESPONSES,
        dimensions=CELL,
        ids=("response_id",),
        written_with="filtered_responses",
    ),
}
