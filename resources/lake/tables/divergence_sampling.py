"""Tables of divergence-aware sampling."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from resources.lake.table import CELL, LOGPROBS, TOKEN_IDS, Table, columns, made, same, schema
from resources.lake.tables.response_filtering import FILTERED_RESPONSES

STUDENT_SCORES = schema(
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

TEACHER_SCORES = schema(
    ("response_id", pa.string(), "filtered response"),
    ("model", pa.string(), "the teacher"),
    ("model_revision", pa.string(), "content hash or hub revision of the teacher"),
    ("token_ids", TOKEN_IDS, "the answer in the teacher's own format, under its tokenizer"),
    ("logprobs", LOGPROBS, "natural-log probability of each token under the teacher"),
    (
        "token_starts",
        TOKEN_IDS,
        "byte of response_text where the token's first non-space byte lies; -1: template token",
    ),
    (
        "left_out",
        pa.string(),
        "why the response was not scored: it has_logprobs of its own, or what is wrong; then the "
        "lists are empty",
        True,
    ),
)

SENTENCE_PROVENANCE = schema(
    ("response_id", pa.string(), "response the sentence belongs to"),
    ("sentence_index", pa.int32(), "0-based position of the sentence in the response"),
    ("part", pa.string(), "reasoning or answer"),
    ("start_byte", pa.int32(), "first byte of the sentence in response_text"),
    ("end_byte", pa.int32(), "byte after the sentence in response_text"),
    ("n_teacher_tokens", pa.int32(), "teacher tokens in the sentence"),
    ("n_student_tokens", pa.int32(), "student tokens in the sentence"),
    ("p_teacher", pa.float32(), "geometric mean of the teacher's token probabilities", True),
    ("p_student", pa.float32(), "geometric mean of the student's token probabilities", True),
    ("sentence_class", pa.string(), "teacher, student, common or unscored (no token on one side)"),
    ("segmenter", pa.string(), "name and version of what cut the text into sentences"),
)

RESPONSE_PROVENANCE = schema(
    *columns(
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
    ("n_common_sentences", pa.int32(), "all other scored sentences"),
    ("teacher_sentence_share", pa.float32(), "n_teacher_sentences / n_sentences"),
    ("n_teacher_sentence_tokens", pa.int32(), "student tokens in Teacher Sentences"),
    ("n_student_sentence_tokens", pa.int32(), "student tokens in Student Sentences"),
    ("n_common_sentence_tokens", pa.int32(), "student tokens in Common Sentences"),
    (
        "p_teacher",
        pa.float32(),
        "geometric mean of the teacher's token probabilities; null: nobody knows them",
        True,
    ),
    ("p_student", pa.float32(), "geometric mean of the student's token probabilities"),
    ("mean_student_rank", pa.float32(), "mean rank of the tokens under the base student"),
    (
        "mean_clipped_student_rank",
        pa.float32(),
        "mean rank of the tokens under the base student, every rank beyond 100 counted as 100",
    ),
)

CONTROLS: Final = ("random", "longest")
"""What a selection is held against: candidates of the same token count, drawn in these ways."""

DIVERGENCE_CANDIDATES = schema(
    *columns(RESPONSE_PROVENANCE, RESPONSE_PROVENANCE.names),
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
    ("is_longest_control", pa.bool_(), "the longest answers under the same token budget"),
)

DIVERGENCE_SAMPLE = schema(
    *columns(
        FILTERED_RESPONSES,
        ("response_id", "question_id", "domain", "question", "earlier_messages"),
    ),
    ("question_shard", pa.string(), "shard the question came in"),
    ("response_text", pa.string(), "training target in the student's format"),
    ("n_student_tokens", pa.int32(), "length under the student's tokenizer, end token included"),
    ("score", pa.float32(), "value of the response under the policy"),
    ("rank", pa.int32(), "1-based rank of the response within its domain"),
    ("weight", pa.float32(), "what the sample counts in the training loss; their mean is 1"),
)

_SCORED = ("filtered_responses.teacher_logprobs", "filtered_responses.teacher_token_starts",
           "student_scores.logprobs", "student_scores.token_starts")  # fmt: skip

TABLES: Final[dict[str, Table]] = {
    "student_scores": Table(
        STUDENT_SCORES,
        dimensions=CELL,
        ids=("response_id",),
        token_column="token_ids",
        is_by_a_model=True,
        lineage={
            **same("filtered_responses", "response_id"),
            **made("token_ids", "filtered_responses.response_text"),
            **made(
                "logprobs ranks", "filtered_responses.question", "filtered_responses.response_text"
            ),
            **made(
                "token_starts",
                "filtered_responses.response_text",
                "filtered_responses.reasoning",
                "filtered_responses.answer",
            ),
        },
    ),
    "teacher_scores": Table(
        TEACHER_SCORES,
        dimensions=CELL,
        ids=("response_id",),
        token_column="token_ids",
        is_by_a_model=True,
        lineage={
            **same("filtered_responses", "response_id"),
            **made(
                "token_ids token_starts",
                "filtered_responses.reasoning",
                "filtered_responses.answer",
            ),
            **made(
                "logprobs",
                "filtered_responses.question",
                "filtered_responses.reasoning",
                "filtered_responses.answer",
            ),
            **made("left_out", "filtered_responses.teacher_logprobs"),
        },
    ),
    "sentence_provenance": Table(
        SENTENCE_PROVENANCE,
        dimensions=CELL,
        ids=("response_id", "sentence_index"),
        token_column="n_student_tokens",
        lineage={
            **same("filtered_responses", "response_id"),
            **made(
                "sentence_index part start_byte end_byte",
                "filtered_responses.response_text",
                "filtered_responses.reasoning",
                "filtered_responses.answer",
            ),
            **made("n_teacher_tokens", "filtered_responses.teacher_token_starts"),
            **made("n_student_tokens", "student_scores.token_starts"),
            **made("p_teacher", *_SCORED[:2]),
            **made("p_student", *_SCORED[2:]),
            **made("sentence_class", *_SCORED),
        },
    ),
    "response_provenance": Table(
        RESPONSE_PROVENANCE,
        dimensions=CELL,
        ids=("response_id",),
        written_with="sentence_provenance",
    ),
    "divergence_candidates": Table(
        DIVERGENCE_CANDIDATES,
        dimensions=("temperature",),
        ids=("response_id",),
        written_with="divergence_sample",
    ),
    "divergence_sample": Table(
        DIVERGENCE_SAMPLE,
        dimensions=("temperature",),
        ids=("response_id",),
        token_column="n_student_tokens",
        lineage={
            **same(
                "filtered_responses",
                "response_id",
                "question_id",
                "domain",
                "question",
                "earlier_messages",
                "response_text",
                "n_student_tokens",
            ),
            **made(
                "score rank",
                "sentence_provenance.sentence_class",
                "sentence_provenance.n_student_tokens",
                "sentence_provenance.p_teacher",
                "sentence_provenance.p_student",
                "student_scores.ranks",
            ),
            **made("weight", "filtered_responses.teacher_logprobs"),
        },
    ),
}
