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
from resources.lake.tables.questions import QUARANTINED_ROWS

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

IMPORTED: Final = "imported"
"""Engine of answers that a drop brought along."""

UNKNOWN = "; null: nobody knows, or, of an imported answer, none came along"

TEACHER_RESPONSES = schema(
    ("response_id", pa.string(), "content hash of the request (what shapes the answer)"),
    ("question_id", pa.string(), "question that was asked"),
    ("domain", pa.string(), "domain of the question"),
    ("question", pa.string(), "the question as asked"),
    EARLIER_MESSAGES,
    ("sample_index", pa.int32(), "0-based index of this answer among the question's answers"),
    ("system_prompt", pa.string(), f"system prompt that was sent{UNKNOWN}", True),
    ("reasoning_effort", pa.string(), f"reasoning effort that was asked for{UNKNOWN}", True),
    # The engine is always known: of answers that a drop brought along it is `imported`.
    *(
        column if column[0] == "engine" else (*column[:2], f"{column[2]}{UNKNOWN}", True)
        for column in SAMPLING
    ),
    ("text", pa.string(), "decoded wire text with special tokens (Harmony for gpt-oss)"),
)

TEACHER_TOP_LOGPROBS = schema(
    ("response_id", pa.string(), "row of teacher_responses"),
    ("k", pa.int32(), "how many of the likeliest tokens there are at each position"),
    (
        "top_token_ids",
        TOKEN_IDS,
        "ids in the teacher's vocabulary: the k likeliest in the place of the first token of "
        "token_ids, the likeliest first, then those in the place of the second; -1: the server did "
        "not tell it, or its tokenizer has no such token",
    ),
    (
        "top_logprobs",
        LOGPROBS,
        "natural-log probability of each, as that of the emitted token, see logprobs_mode, rounded "
        "to the precision of a float16; NaN: the server did not tell that of the emitted token "
        "either",
    ),
)

IMPORTED_ANSWERS = schema(
    ("drop", pa.string(), "file the row came from: the drop, with the path inside if a folder"),
    ("line", pa.int64(), "1-based line (row) number in the file"),
    ("answer_id", pa.string(), "name of the row as delivered", True),
    ("response_id", pa.string(), "content hash of question and answer"),
    ("question_id", pa.string(), "question that it answers"),
    ("text", pa.string(), "the answer as delivered"),
    ("token_ids", TOKEN_IDS, "as delivered; they spell the text; null: none came along", True),
    (
        "logprobs",
        LOGPROBS,
        "natural-log probability of each token as delivered; null: none came along",
        True,
    ),
    (
        "has_answer_tokens",
        pa.bool_(),
        "whether the tokens spell the final answer, too, and not the reasoning alone",
        True,
    ),
    ("has_end_token", pa.bool_(), "whether the last token is the one that ends an answer", True),
)

QUARANTINED_ANSWERS = QUARANTINED_ROWS

TABLES: Final[dict[str, Table]] = {
    "imported_answers": Table(
        IMPORTED_ANSWERS,
        dimensions=CELL,
        ids=("response_id",),
        token_column="token_ids",
    ),
    "quarantined_answers": Table(
        QUARANTINED_ANSWERS,
        dimensions=CELL,
        ids=("drop", "line"),
        written_with="imported_answers",
    ),
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
    "teacher_top_logprobs": Table(
        TEACHER_TOP_LOGPROBS,
        dimensions=CELL,
        ids=("response_id",),
        written_with="teacher_responses",
        is_optional=True,
        lineage=made("response_id top_token_ids top_logprobs", "questions.question"),
    ),
}
