"""Where the columns of each table come from, as the UI shows them column by column.

Only tables that an asset is named for are listed. A column that is not mentioned is made by the
asset itself: a setting, a running number, the model's identity.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Source(NamedTuple):
    """A column of another asset's main table."""

    asset: str
    column: str


Lineage = dict[str, tuple[Source, ...]]
"""Column -> the columns that it is made from."""


def _same(asset: str, *columns: str) -> Lineage:
    """Columns taken over as they are."""
    return {column: (Source(asset, column),) for column in columns}


def _made(columns: str, *sources: str) -> Lineage:
    """Columns made from others, which are written `asset.column`."""
    found = tuple(Source(*source.split(".")) for source in sources)
    return dict.fromkeys(columns.split(), found)


_SCORED = ("filtered_responses.teacher_logprobs", "filtered_responses.teacher_token_starts",
           "student_scores.logprobs", "student_scores.token_starts")  # fmt: skip

COLUMN_LINEAGE: Final[dict[str, Lineage]] = {
    "questions": {
        **_same("raw_questions", "domain", "question", "answer", "difficulty", "source", "drop",
                "line"),
        **_made("question_id", "raw_questions.question", "raw_questions.domain"),
    },
    "teacher_responses": {
        **_same("questions", "question_id", "domain", "question"),
        **_made("response_id finish_reason token_ids logprobs text", "questions.question"),
        **_made("seed", "questions.question_id"),
    },
    "filtered_responses": {
        **_same("teacher_responses", "response_id", "question_id", "domain", "question",
                "sample_index", "logprobs_mode"),
        **_made("reasoning answer response_text n_student_tokens teacher_token_starts",
                "teacher_responses.token_ids", "teacher_responses.text"),
        **_made("n_teacher_tokens", "teacher_responses.token_ids"),
        **_made("teacher_logprobs", "teacher_responses.logprobs"),
    },
    "student_scores": {
        **_same("filtered_responses", "response_id"),
        **_made("token_ids", "filtered_responses.response_text"),
        **_made("logprobs ranks", "filtered_responses.question",
                "filtered_responses.response_text"),
        **_made("token_starts", "filtered_responses.response_text",
                "filtered_responses.reasoning", "filtered_responses.answer"),
    },
    "sentence_provenance": {
        **_same("filtered_responses", "response_id"),
        **_made("sentence_index part start_byte end_byte", "filtered_responses.response_text",
                "filtered_responses.reasoning", "filtered_responses.answer"),
        **_made("n_teacher_tokens", "filtered_responses.teacher_token_starts"),
        **_made("n_student_tokens", "student_scores.token_starts"),
        **_made("p_teacher", *_SCORED[:2]),
        **_made("p_student", *_SCORED[2:]),
        **_made("sentence_class", *_SCORED),
    },
    "divergence_sample": {
        **_same("filtered_responses", "response_id", "question_id", "domain", "question",
                "response_text", "n_student_tokens"),
        **_made("score rank", "sentence_provenance.sentence_class",
                "sentence_provenance.n_student_tokens", "sentence_provenance.p_teacher",
                "sentence_provenance.p_student", "student_scores.ranks"),
    },
    "student_rollouts": {
        **_same("divergence_sample", "response_id", "question_id", "domain", "question"),
        **_made("rollout_id finish_reason token_ids logprobs text is_truncated broken_rules",
                "divergence_sample.question", "divergence_sample.n_student_tokens"),
        **_made("seed", "divergence_sample.question_id"),
        **_made("max_tokens n_teacher_response_tokens", "divergence_sample.n_student_tokens"),
    },
    "teacher_continuations": {
        **_same("student_rollouts", "rollout_id", "response_id", "question_id", "domain",
                "question"),
        **_made("prefix_text cut_part", "student_rollouts.token_ids"),
        **_made("cut_fraction seed", "student_rollouts.rollout_id"),
        **_made("continuation_id finish_reason token_ids logprobs text",
                "student_rollouts.question", "student_rollouts.token_ids"),
    },
    "mixed_policy_sample": {
        **_made("sample_id", "teacher_continuations.continuation_id",
                "divergence_sample.response_id"),
        **_made("question_id", "teacher_continuations.question_id",
                "divergence_sample.question_id"),
        **_made("domain", "teacher_continuations.domain", "divergence_sample.domain"),
        **_made("question", "teacher_continuations.question", "divergence_sample.question"),
        **_made("response_text", "teacher_continuations.prefix_text",
                "teacher_continuations.text", "divergence_sample.response_text"),
        **_made("student_prefix_bytes", "teacher_continuations.prefix_text"),
        **_made("n_student_tokens", "teacher_continuations.prefix_text",
                "teacher_continuations.text", "divergence_sample.n_student_tokens"),
    },
    "evaluation": {
        **_same("benchmark_questions", "benchmark", "question_id", "domain"),
        **_made("seed", "benchmark_questions.question_id"),
        **_made("answer_id finish_reason n_tokens token_ids text", "benchmark_questions.prompt"),
        **_made("is_correct verdict extracted detail", "benchmark_questions.prompt",
                "benchmark_questions.answer"),
    },
}  # fmt: skip
"""Main table -> its columns' sources. Drops and evaluation sets come from outside."""
