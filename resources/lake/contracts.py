"""Arrow schemas of every table in the lake: the contract between two assets.

A table is written by exactly one asset and checked against its schema on write and on read
(see `resources.lake`). Token-level columns are typed lists; probabilities are natural logs
unless the name says `p_`; offsets are bytes into the UTF-8 text that the comment names.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pyarrow as pa


class ContractError(ValueError):
    """Rows that break a contract between two assets; the message names table, partition, reason."""


TOKEN_IDS: Final = pa.list_(pa.int32())
LOGPROBS: Final = pa.list_(pa.float32())


def _schema(
    *columns: tuple[str, pa.DataType, str] | tuple[str, pa.DataType, str, bool],
) -> pa.Schema:
    """Fields from (name, type, description[, nullable]); columns are required unless said."""
    return pa.schema(
        [
            pa.field(
                column[0],
                column[1],
                nullable=len(column) > 3 and bool(column[3]),
                metadata={"description": column[2]},
            )
            for column in columns
        ]
    )


def _columns(schema: pa.Schema, names: Iterable[str]) -> list[tuple[str, pa.DataType, str, bool]]:
    """Columns of another table, taken over with their types and descriptions."""
    return [
        (
            name,
            schema.field(name).type,
            schema.field(name).metadata[b"description"].decode(),
            schema.field(name).nullable,
        )
        for name in names
    ]


RAW_QUESTIONS = _schema(
    ("drop", pa.string(), "file the row came from: the drop, with the path inside if a folder"),
    ("line", pa.int64(), "1-based line (row) number in the file"),
    ("question", pa.string(), "the question as delivered"),
    ("domain", pa.string(), "math, code, science or instruction_following"),
    ("answer", pa.string(), "reference answer as JSON; how it is read depends on the domain"),
    ("difficulty", pa.int32(), "difficulty as delivered", True),
    ("source", pa.string(), "where the user has it from", True),
)

QUARANTINED_ROWS = _schema(
    ("drop", pa.string(), "file the row came from: the drop, with the path inside if a folder"),
    ("line", pa.int64(), "1-based line (row) number in the file"),
    ("reason", pa.string(), "why the row cannot be used, one code"),
    ("evidence", pa.string(), "what was found, at most 200 characters"),
)

QUESTIONS = _schema(
    ("question_id", pa.string(), "content hash of the normalised question and its domain"),
    ("domain", pa.string(), "math, code, science or instruction_following"),
    ("question", pa.string(), "the question, Unicode NFC, no invisible characters, trimmed"),
    ("answer", pa.string(), "reference answer as JSON; null where the question has none"),
    ("difficulty", pa.int32(), "difficulty as delivered", True),
    ("source", pa.string(), "where the user has it from", True),
    ("drop", pa.string(), "file the row came from: the drop, with the path inside if a folder"),
    ("line", pa.int64(), "1-based line (row) number in the file"),
)

REJECTED_QUESTIONS = _schema(
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

QUESTION_SIGNATURES = _schema(
    ("question_id", pa.string(), "question of the same shard's `questions`"),
    ("curation_order", pa.int32(), "the shard was the how many-th to be curated first, from 1"),
    ("settings", pa.string(), "what the keys were made with; others are no use to compare"),
    ("band_keys", pa.list_(pa.uint64()), "LSH band keys of the MinHash; one shared: a candidate"),
)

BENCHMARK_QUESTIONS = _schema(
    ("question_id", pa.string(), "content hash of the normalised question and its domain"),
    ("benchmark", pa.string(), "name of the evaluation set"),
    ("domain", pa.string(), "which grader judges the answer"),
    ("question", pa.string(), "the question alone, Unicode NFC, trimmed"),
    ("prompt", pa.string(), "what is asked: the question with its set's instructions"),
    ("answer", pa.string(), "reference answer as JSON"),
)

_SAMPLING = [
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

TEACHER_RESPONSES = _schema(
    ("response_id", pa.string(), "content hash of the request (what shapes the answer)"),
    ("question_id", pa.string(), "question that was asked"),
    ("domain", pa.string(), "domain of the question"),
    ("question", pa.string(), "the question as asked"),
    ("sample_index", pa.int32(), "0-based index of this answer among the question's answers"),
    ("system_prompt", pa.string(), "system prompt that was sent"),
    ("reasoning_effort", pa.string(), "reasoning effort that was asked for"),
    *_SAMPLING,
    ("text", pa.string(), "decoded wire text with special tokens (Harmony for gpt-oss)"),
)

FILTERED_RESPONSES = _schema(
    *_columns(
        TEACHER_RESPONSES,
        ("response_id", "question_id", "domain", "question", "sample_index", "logprobs_mode"),
    ),
    ("reasoning", pa.string(), "the analysis channel"),
    ("answer", pa.string(), "the final channel"),
    (
        "response_text",
        pa.string(),
        "canonical text in the student's format: <think>…</think> answer",
    ),
    ("n_teacher_tokens", pa.int32(), "tokens the teacher emitted"),
    ("n_student_tokens", pa.int32(), "length under the student's tokenizer, end token included"),
    ("teacher_logprobs", LOGPROBS, "the teacher's logprobs, as sampled"),
    (
        "teacher_token_starts",
        TOKEN_IDS,
        "byte of response_text where the token's first non-space byte lies; -1: template token",
    ),
    ("is_correct", pa.bool_(), "whether the final answer is right; null: not judged", True),
)

REJECTED_RESPONSES = _schema(
    *_columns(TEACHER_RESPONSES, ("response_id", "question_id", "domain", "sample_index")),
    (
        "broken_rules",
        pa.list_(pa.struct([("rule", pa.string()), ("evidence", pa.string())])),
        "every rule the answer breaks, with the evidence",
    ),
)

STUDENT_SCORES = _schema(
    ("response_id", pa.string(), "response that was scored"),
    ("model", pa.string(), "the base student"),
    ("model_revision", pa.string(), "content hash or hub revision of the base student"),
    ("token_ids", TOKEN_IDS, "response_text and end token under the student's tokenizer"),
    ("logprobs", LOGPROBS, "natural-log probability of each token under the base student"),
    ("ranks", pa.list_(pa.int32()), "rank of each token under the base student, 1 is likeliest"),
    (
        "token_starts",
        TOKEN_IDS,
        "byte of response_text where the token's first non-space byte lies; -1: template token",
    ),
)

SENTENCE_PROVENANCE = _schema(
    ("response_id", pa.string(), "response the sentence belongs to"),
    ("sentence_index", pa.int32(), "0-based position of the sentence in the response"),
    ("part", pa.string(), "reasoning or answer"),
    ("start_byte", pa.int32(), "first byte of the sentence in response_text"),
    ("end_byte", pa.int32(), "byte after the sentence in response_text"),
    ("n_teacher_tokens", pa.int32(), "teacher tokens in the sentence"),
    ("n_student_tokens", pa.int32(), "student tokens in the sentence"),
    ("p_teacher", pa.float32(), "geometric mean of the teacher's token probabilities", True),
    ("p_student", pa.float32(), "geometric mean of the student's token probabilities", True),
    ("sentence_class", pa.string(), "teacher, student, shared or unscored (no token on one side)"),
    ("segmenter", pa.string(), "name and version of what cut the text into sentences"),
)

RESPONSE_PROVENANCE = _schema(
    *_columns(
        FILTERED_RESPONSES,
        (
            "response_id",
            "question_id",
            "domain",
            "sample_index",
            "n_teacher_tokens",
            "n_student_tokens",
        ),
    ),
    ("n_sentences", pa.int32(), "sentences with tokens on both sides"),
    ("n_teacher_sentences", pa.int32(), "sentences with p_teacher far above p_student"),
    ("n_student_sentences", pa.int32(), "sentences with p_student far above p_teacher"),
    ("n_shared_sentences", pa.int32(), "all other scored sentences"),
    ("teacher_sentence_share", pa.float32(), "n_teacher_sentences / n_sentences"),
    ("n_teacher_sentence_tokens", pa.int32(), "student tokens in Teacher Sentences"),
    ("n_student_sentence_tokens", pa.int32(), "student tokens in Student Sentences"),
    ("n_shared_sentence_tokens", pa.int32(), "student tokens in Shared Sentences"),
    ("p_teacher", pa.float32(), "geometric mean of the teacher's token probabilities"),
    ("p_student", pa.float32(), "geometric mean of the student's token probabilities"),
    ("mean_student_rank", pa.float32(), "mean rank of the tokens under the base student"),
    (
        "mean_clipped_student_rank",
        pa.float32(),
        "mean rank of the tokens under the base student, every rank beyond 100 counted as 100",
    ),
)

DIVERGENCE_CANDIDATES = _schema(
    *_columns(RESPONSE_PROVENANCE, RESPONSE_PROVENANCE.names),
    ("question_shard", pa.string(), "shard the question came in"),
    ("policy", pa.string(), "selection policy that ranked the candidates"),
    ("score", pa.float32(), "value of the response under the policy; higher is better"),
    ("rank", pa.int32(), "1-based rank of the response within its domain"),
    ("length_stratum", pa.int32(), "1-based quantile bin of n_student_tokens within the domain"),
    ("is_selected", pa.bool_(), "chosen for the training set"),
    (
        "decision",
        pa.string(),
        "selected, over_answers_per_question, over_domain_quota, over_stratum_quota or "
        "too_long_for_budget",
    ),
    ("is_random_control", pa.bool_(), "drawn at random under the same token budget"),
)

DIVERGENCE_SAMPLE = _schema(
    *_columns(FILTERED_RESPONSES, ("response_id", "question_id", "domain", "question")),
    ("question_shard", pa.string(), "shard the question came in"),
    ("response_text", pa.string(), "training target in the student's format"),
    ("n_student_tokens", pa.int32(), "length under the student's tokenizer, end token included"),
    ("score", pa.float32(), "value of the response under the policy"),
    ("rank", pa.int32(), "1-based rank of the response within its domain"),
)

STUDENT_ROLLOUTS = _schema(
    ("rollout_id", pa.string(), "content hash of the request"),
    ("response_id", pa.string(), "teacher response whose length sets the cap"),
    ("question_id", pa.string(), "question that was asked"),
    ("domain", pa.string(), "domain of the question"),
    ("question", pa.string(), "the question as asked"),
    *_SAMPLING,
    ("n_teacher_response_tokens", pa.int32(), "teacher response's length in student tokens"),
    ("is_truncated", pa.bool_(), "cut off by the cap of 1.5 x the teacher response's length"),
    (
        "broken_rules",
        pa.list_(pa.struct([("rule", pa.string()), ("evidence", pa.string())])),
        "why the rollout cannot be used, whatever its length; empty where it can",
    ),
    ("text", pa.string(), "decoded text in the student's format"),
)

TEACHER_CONTINUATIONS = _schema(
    ("continuation_id", pa.string(), "content hash of the request"),
    *_columns(STUDENT_ROLLOUTS, ("rollout_id", "response_id", "question_id", "domain", "question")),
    *_SAMPLING,
    ("prefix_text", pa.string(), "the student's text that was kept, in the student's format"),
    ("cut_part", pa.string(), "reasoning or answer: where the cut lies"),
    ("cut_fraction", pa.float32(), "share of the rollout's tokens that was kept"),
    ("text", pa.string(), "decoded wire text of the teacher's continuation"),
)

MIXED_POLICY_SAMPLE = _schema(
    ("sample_id", pa.string(), "continuation_id or response_id"),
    ("policy", pa.string(), "mixed_policy or off_policy"),
    *_columns(STUDENT_ROLLOUTS, ("question_id", "domain", "question")),
    ("response_text", pa.string(), "training target in the student's format"),
    ("student_prefix_bytes", pa.int32(), "leading bytes of response_text the student wrote"),
    ("n_student_tokens", pa.int32(), "length under the student's tokenizer, end token included"),
)

REJECTED_CONTINUATIONS = _schema(
    *_columns(TEACHER_CONTINUATIONS, ("continuation_id", "rollout_id", "question_id", "domain")),
    (
        "broken_rules",
        pa.list_(pa.struct([("rule", pa.string()), ("evidence", pa.string())])),
        "every rule the finished answer breaks, with the evidence",
    ),
)

EVALUATION = _schema(
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

RELEASED_SAMPLE = _schema(
    *_columns(
        DIVERGENCE_SAMPLE,
        (
            "response_id", "question_id", "domain", "question", "response_text",
            "n_student_tokens", "score", "rank", "question_shard",
        ),
    ),
    *_columns(TEACHER_RESPONSES, ("temperature",)),
)  # fmt: skip
"""A row of a released training set of stage 1 or 2; that of stage 3 is MIXED_POLICY_SAMPLE."""

RELEASED_LOGPROBS = _schema(
    *_columns(FILTERED_RESPONSES, ("response_id", "question_id", "domain", "response_text")),
    *_columns(
        TEACHER_RESPONSES,
        (
            "model", "model_revision", "engine", "engine_version", "logprobs_mode", "temperature",
            "top_p", "max_tokens", "seed", "sample_index", "token_ids", "logprobs",
        ),
    ),
    *_columns(FILTERED_RESPONSES, ("teacher_token_starts",)),
    (
        "sentences",
        pa.list_(
            pa.struct(
                [
                    (name, SENTENCE_PROVENANCE.field(name).type)
                    for name in (
                        "part", "start_byte", "end_byte", "n_teacher_tokens", "n_student_tokens",
                        "p_teacher", "p_student", "sentence_class",
                    )
                ]
            )
        ),
        "the sentences in order: bytes of response_text, tokens on both sides, geometric mean of "
        "the token probabilities of teacher and base student, class",
    ),
    *_columns(SENTENCE_PROVENANCE, ("segmenter",)),
)  # fmt: skip
"""A row of the companion of a released training set: what its provenance was found from."""

SCHEMAS: Final[dict[str, pa.Schema]] = {
    "raw_questions": RAW_QUESTIONS,
    "quarantined_rows": QUARANTINED_ROWS,
    "questions": QUESTIONS,
    "rejected_questions": REJECTED_QUESTIONS,
    "question_signatures": QUESTION_SIGNATURES,
    "benchmark_questions": BENCHMARK_QUESTIONS,
    "teacher_responses": TEACHER_RESPONSES,
    "filtered_responses": FILTERED_RESPONSES,
    "rejected_responses": REJECTED_RESPONSES,
    "student_scores": STUDENT_SCORES,
    "sentence_provenance": SENTENCE_PROVENANCE,
    "response_provenance": RESPONSE_PROVENANCE,
    "divergence_candidates": DIVERGENCE_CANDIDATES,
    "divergence_sample": DIVERGENCE_SAMPLE,
    "student_rollouts": STUDENT_ROLLOUTS,
    "teacher_continuations": TEACHER_CONTINUATIONS,
    "mixed_policy_sample": MIXED_POLICY_SAMPLE,
    "rejected_continuations": REJECTED_CONTINUATIONS,
    "evaluation": EVALUATION,
}
"""Every table of the lake by name."""
