"""Rows of a release's data files; they lie in the release, not in the lake."""

from __future__ import annotations

import pyarrow as pa

from resources.lake.table import columns, schema
from resources.lake.tables.divergence_sampling import DIVERGENCE_SAMPLE, SENTENCE_PROVENANCE
from resources.lake.tables.response_filtering import FILTERED_RESPONSES
from resources.lake.tables.teacher_responses import TEACHER_RESPONSES

RELEASED_SAMPLE = schema(
    *columns(
        DIVERGENCE_SAMPLE,
        (
            "response_id", "question_id", "domain", "question", "earlier_messages",
            "response_text", "n_student_tokens", "score", "rank", "weight", "question_shard",
        ),
    ),
    *columns(TEACHER_RESPONSES, ("temperature",)),
)  # fmt: skip
"""A row of a released training set of stage 1 or 2; that of stage 3 is MIXED_POLICY_SAMPLE."""

WRITER = ("model", "model_revision")
RELEASED_OF_SEVERAL = schema(
    *columns(RELEASED_SAMPLE, tuple(RELEASED_SAMPLE.names)), *columns(TEACHER_RESPONSES, WRITER)
)
"""The same where the profile has several teachers: with who answered."""

RELEASED_LOGPROBS = schema(
    *columns(FILTERED_RESPONSES, ("response_id", "question_id", "domain", "response_text")),
    *columns(
        TEACHER_RESPONSES,
        (
            "model", "model_revision", "engine", "engine_version", "logprobs_mode", "temperature",
            "top_p", "max_tokens", "seed", "sample_index", "token_ids", "logprobs",
        ),
    ),
    *columns(FILTERED_RESPONSES, ("teacher_token_starts",)),
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
    *columns(SENTENCE_PROVENANCE, ("segmenter",)),
)  # fmt: skip
"""A row of the companion of a released training set: what its provenance was found from."""
