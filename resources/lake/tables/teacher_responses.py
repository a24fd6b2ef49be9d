"""Tables of the teacher's responses, and the columns that say how an answer was sampled."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from resources.lake.table import (
    CELL,
    EARLIER_MESSAGES,
    LOGPROBS,
    TOKEN_IDS,
    Table,
    made,
    same,
    schema,
)

SAMPLING = [
    ("model", pa.string(), "model that answered, as configured"),
    ("model_revision", pa.string(), "content hash or hub revision of the model"),
    ("engine", pa.string(), "inference engine kind"),
    ("engine_version", pa.string(), "version of the inference engine"),
    (
        "logprobs_mode",
        pa.string(),
        "what the logprobs are; raw_logprobs: temperature 1, unfiltered",
    ),
    ("temperature", pa.float32(), "sampling temperature"),
    ("top_p", pa.float32(), "nucleus sampling mass"),
    ("max_tokens", pa.int32(), "cap on new tokens, in tokens of the model that answers"),
    ("seed", pa.int64(), "seed of this request"),
    ("finish_reason", pa.string(), "stop or length"),
    ("token_ids", TOKEN_IDS, "emitted token ids, the stop token included"),
    ("logprobs", LOGPROBS, "natural-log probability of each emitted token, see logprobs_mode"),
]
"""Columns of every table of answers that a model sampled."""

TEACHER_RESPONSES = schema(
    ("response_id", pa.string(), "content hash of the request (what shapes the answer)"),
    ("question_id", pa.string(), "question that was asked"),
    ("domain", pa.string(), "domain of the question"),
    ("question", pa.string(), "the question as asked"),
    EARLIER_MESSAGES,
    ("sample_index", pa.int32(), "0-based index of this answer among the question's answers"),
    ("system_prompt", pa.string(), "system prompt that was sent"),
    ("reasoning_effort", pa.string(), "reasoning effort that was asked for"),
    *SAMPLING,
    ("text", pa.string(), "decoded wire text with special tokens (Harmony for gpt-oss)"),
)

TABLES: Final[dict[str, Table]] = {
    "teacher_responses": Table(
        TEACHER_RESPONSES,
        dimensions=CELL,
        ids=("response_id",),
        token_column="token_ids",
        is_by_a_model=True,
        lineage={
            **same("questions", "question_id", "domain", "question", "earlier_messages"),
            **made("response_id finish_reason token_ids logprobs text", "questions.question"),
            **made("seed", "questions.question_id"),
        },
    ),
}
