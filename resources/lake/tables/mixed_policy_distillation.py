"""Tables of mixed-policy distillation."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from resources.lake.table import (
    BROKEN_RULES,
    EARLIER_MESSAGES,
    SHARD,
    Table,
    columns,
    made,
    same,
    schema,
)
from resources.lake.tables.teacher_responses import SAMPLING

STUDENT_ROLLOUTS = schema(
    ("rollout_id", pa.string(), "content hash of the request"),
    ("response_id", pa.string(), "teacher response whose length sets the cap"),
    ("question_id", pa.string(), "question that was asked"),
    ("domain", pa.string(), "domain of the question"),
    ("question", pa.string(), "the question as asked"),
    EARLIER_MESSAGES,
    *SAMPLING,
    ("n_teacher_response_tokens", pa.int32(), "teacher response's length in student tokens"),
    ("is_truncated", pa.bool_(), "cut off by the cap of 1.5 x the teacher response's length"),
    (
        "broken_rules",
        BROKEN_RULES,
        "why the rollout cannot be used, whatever its length; empty where it can",
    ),
    ("text", pa.string(), "decoded text in the student's format"),
)

TEACHER_CONTINUATIONS = schema(
    ("continuation_id", pa.string(), "content hash of the request"),
    *columns(
        STUDENT_ROLLOUTS,
        ("rollout_id", "response_id", "question_id", "domain", "question", "earlier_messages"),
    ),
    *SAMPLING,
    ("prefix_text", pa.string(), "the student's text that was kept, in the student's format"),
    ("cut_part", pa.string(), "reasoning or answer: where the cut lies"),
    ("cut_fraction", pa.float32(), "share of the rollout's tokens that was kept"),
    ("cut_kind", pa.string(), "random, or entropy: at the student's boundary"),
    ("text", pa.string(), "decoded wire text of the teacher's continuation"),
)

MIXED_POLICY_SAMPLE = schema(
    ("sample_id", pa.string(), "continuation_id or response_id"),
    ("policy", pa.string(), "mixed_policy or off_policy"),
    *columns(STUDENT_ROLLOUTS, ("question_id", "domain", "question", "earlier_messages")),
    ("response_text", pa.string(), "training target in the student's format"),
    ("student_prefix_bytes", pa.int32(), "leading bytes of response_text the student wrote"),
    ("n_student_tokens", pa.int32(), "length under the student's tokenizer, end token included"),
    (
        "weight",
        pa.float32(),
        "what the sample counts in the training loss: 1 where the student began it, else that of "
        "the divergence sample",
    ),
)

REJECTED_CONTINUATIONS = schema(
    *columns(TEACHER_CONTINUATIONS, ("continuation_id", "rollout_id", "question_id", "domain")),
    (
        "broken_rules",
        BROKEN_RULES,
        "every rule the finished answer breaks, with the evidence",
    ),
)

TABLES: Final[dict[str, Table]] = {
    "student_rollouts": Table(
        STUDENT_ROLLOUTS,
        dimensions=SHARD,
        ids=("rollout_id",),
        token_column="token_ids",
        is_by_a_model=True,
        lineage={
            **same(
                "divergence_sample",
                "response_id",
                "question_id",
                "domain",
                "question",
                "earlier_messages",
            ),
            **made(
                "rollout_id finish_reason token_ids logprobs text is_truncated broken_rules",
                "divergence_sample.question",
                "divergence_sample.n_student_tokens",
            ),
            **made("seed", "divergence_sample.question_id"),
            **made("max_tokens n_teacher_response_tokens", "divergence_sample.n_student_tokens"),
        },
    ),
    "teacher_continuations": Table(
        TEACHER_CONTINUATIONS,
        dimensions=SHARD,
        ids=("continuation_id",),
        token_column="token_ids",
        is_by_a_model=True,
        lineage={
            **same(
                "student_rollouts",
                "rollout_id",
                "response_id",
                "question_id",
                "domain",
                "question",
                "earlier_messages",
            ),
            **made("prefix_text cut_part", "student_rollouts.token_ids"),
            **made("seed", "student_rollouts.rollout_id"),
            **made(
                "cut_fraction cut_kind", "student_rollouts.rollout_id", "student_rollouts.logprobs"
            ),
            **made(
                "continuation_id finish_reason token_ids logprobs text",
                "student_rollouts.question",
                "student_rollouts.token_ids",
            ),
        },
    ),
    "mixed_policy_sample": Table(
        MIXED_POLICY_SAMPLE,
        dimensions=(),
        ids=("sample_id",),
        token_column="n_student_tokens",
        lineage={
            **made(
                "sample_id",
                "teacher_continuations.continuation_id",
                "divergence_sample.response_id",
            ),
            **made(
                "question_id", "teacher_continuations.question_id", "divergence_sample.question_id"
            ),
            **made("domain", "teacher_continuations.domain", "divergence_sample.domain"),
            **made("question", "teacher_continuations.question", "divergence_sample.question"),
            **made(
                "earlier_messages",
                "teacher_continuations.earlier_messages",
                "divergence_sample.earlier_messages",
            ),
            **made(
                "response_text",
                "teacher_continuations.prefix_text",
                "teacher_continuations.text",
                "divergence_sample.response_text",
            ),
            **made("student_prefix_bytes", "teacher_continuations.prefix_text"),
            **same("divergence_sample", "weight"),
            **made(
                "n_student_tokens",
                "teacher_continuations.prefix_text",
                "teacher_continuations.text",
                "divergence_sample.n_student_tokens",
            ),
        },
    ),
    "rejected_continuations": Table(
        REJECTED_CONTINUATIONS,
        dimensions=(),
        ids=("continuation_id",),
        written_with="mixed_policy_sample",
    ),
}
