"""Tables of the questions."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from resources.lake.table import EARLIER_MESSAGES, SHARD, Table, made, same, schema

RAW_QUESTIONS = schema(
    ("drop", pa.string(), "file the row came from: the drop, with the path inside if a folder"),
    ("line", pa.int64(), "1-based line (row) number in the file"),
    ("question", pa.string(), "the question as delivered; of a conversation the last user turn"),
    EARLIER_MESSAGES,
    ("domain", pa.string(), "one of the profile's domains"),
    ("answer", pa.string(), "reference answer as JSON; how it is read depends on the domain"),
    ("difficulty", pa.int32(), "difficulty as delivered", True),
    ("source", pa.string(), "where the user has it from", True),
)

QUARANTINED_ROWS = schema(
    ("drop", pa.string(), "file the row came from: the drop, with the path inside if a folder"),
    ("line", pa.int64(), "1-based line (row) number in the file"),
    ("reason", pa.string(), "why the row cannot be used, one code"),
    ("evidence", pa.string(), "what was found, at most 200 characters"),
)

QUESTIONS = schema(
    ("question_id", pa.string(), "content hash of the normalised question and its domain"),
    ("domain", pa.string(), "one of the profile's domains"),
    ("question", pa.string(), "the question, Unicode NFC, no invisible characters, trimmed"),
    EARLIER_MESSAGES,
    ("answer", pa.string(), "reference answer as JSON; null where the question has none"),
    ("difficulty", pa.int32(), "difficulty as delivered", True),
    ("source", pa.string(), "where the user has it from", True),
    ("drop", pa.string(), "file the row came from: the drop, with the path inside if a folder"),
    ("line", pa.int64(), "1-based line (row) number in the file"),
)

REJECTED_QUESTIONS = schema(
    ("question_id", pa.string(), "content hash of the normalised question and its domain"),
    ("drop", pa.string(), "file the row came from: the drop, with the path inside if a folder"),
    ("line", pa.int64(), "1-based line (row) number in the file"),
    (
        "reason",
        pa.string(),
        "duplicate_in_drop, duplicate_of_shard, contaminated, near_duplicate_in_drop or "
        "near_duplicate_of_shard",
    ),
    (
        "evidence",
        pa.string(),
        "the row or shard that has it (of a near-duplicate: its id and the Jaccard similarity), or "
        "the matched n-gram",
    ),
)

QUESTION_SIGNATURES = schema(
    ("question_id", pa.string(), "question of the same shard's `questions`"),
    ("curation_order", pa.int32(), "the shard was the how many-th to be curated first, from 1"),
    ("settings", pa.string(), "what the keys were made with; others are no use to compare"),
    ("band_keys", pa.list_(pa.uint64()), "LSH band keys of the MinHash; one shared: a candidate"),
)

BENCHMARK_QUESTIONS = schema(
    ("question_id", pa.string(), "content hash of the normalised question and its domain"),
    ("benchmark", pa.string(), "name of the evaluation set"),
    ("domain", pa.string(), "which grader judges the answer"),
    ("question", pa.string(), "the question alone, Unicode NFC, trimmed"),
    ("prompt", pa.string(), "what is asked: the question with its set's instructions"),
    ("answer", pa.string(), "reference answer as JSON"),
)

TABLES: Final[dict[str, Table]] = {
    "raw_questions": Table(
        RAW_QUESTIONS,
        dimensions=SHARD,
        ids=("drop", "line"),
    ),
    "quarantined_rows": Table(
        QUARANTINED_ROWS,
        dimensions=SHARD,
        ids=("drop", "line"),
        written_with="raw_questions",
    ),
    "questions": Table(
        QUESTIONS,
        dimensions=SHARD,
        ids=("question_id",),
        lineage={
            **same(
                "raw_questions",
                "domain",
                "question",
                "earlier_messages",
                "answer",
                "difficulty",
                "source",
                "drop",
                "line",
            ),
            **made(
                "question_id",
                "raw_questions.question",
                "raw_questions.earlier_messages",
                "raw_questions.domain",
            ),
        },
    ),
    "rejected_questions": Table(
        REJECTED_QUESTIONS,
        dimensions=SHARD,
        ids=("drop", "line"),
        written_with="questions",
    ),
    "question_signatures": Table(
        QUESTION_SIGNATURES,
        dimensions=SHARD,
        written_with="questions",
    ),
    "benchmark_questions": Table(
        BENCHMARK_QUESTIONS,
        dimensions=("benchmark",),
        ids=("question_id",),
    ),
}
