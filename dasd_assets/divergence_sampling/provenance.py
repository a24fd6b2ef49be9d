"""Sentence provenance: whose sentence is it, the teacher's or the student's? (paper section 4)

For a sentence s with tokens t_1..t_n under a model's own tokenizer,
p_M(s) = exp((1/n) Σ log p_M(t_i | prompt, t_<i)). A token belongs to the sentence that holds its
first non-space byte; tokens of the template belong to none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dasd_assets.divergence_sampling.sentences import Segmenter, response_sentences
from resources.contracts import RESPONSE_PROVENANCE, SENTENCE_PROVENANCE, ContractError

TEACHER, STUDENT, SHARED, UNSCORED = "teacher", "student", "shared", "unscored"

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Provenance:
    """Rows per sentence (SENTENCE_PROVENANCE) and per response (RESPONSE_PROVENANCE)."""

    sentences: pa.Table
    responses: pa.Table


@dataclass(frozen=True)
class _Tokens:
    """Tokens of all responses in one row: which response, which byte, which logprob."""

    response: Integers
    start: Integers
    logprob: Floats


def sentence_provenance(
    filtered: pa.Table,
    scores: pa.Table,
    min_probability_ratio: float,
    segmenter: Segmenter,
) -> Provenance:
    """Classify every sentence of every response.

    Teacher Sentence: p_T >= ratio · p_S; Student Sentence: p_S >= ratio · p_T; otherwise Shared.
    A sentence in which one side has no token is unscored, and counts for nothing.

    Args:
        filtered: rows with the schema FILTERED_RESPONSES.
        scores: rows with the schema STUDENT_SCORES for the same responses, in any order.
        min_probability_ratio: how far apart the probabilities of a sentence must be.

    Raises:
        ContractError: a response without scores, or scores without a response.
    """
    filtered, scores = filtered.combine_chunks(), _matched(filtered, scores).combine_chunks()
    cut = [
        response_sentences(reasoning, answer, segmenter)
        for reasoning, answer in zip(
            filtered["reasoning"].to_pylist(), filtered["answer"].to_pylist(), strict=True
        )
    ]
    n_sentences = np.array([len(sentences) for sentences in cut], np.int64)
    response = np.repeat(np.arange(len(cut)), n_sentences)
    start = np.array([s.start_byte for sentences in cut for s in sentences], np.int64)
    end = np.array([s.end_byte for sentences in cut for s in sentences], np.int64)

    teacher = _tokens(filtered["teacher_token_starts"], filtered["teacher_logprobs"])
    student = _tokens(scores["token_starts"], scores["logprobs"])
    # One line of bytes for all responses: a response's bytes start at its base.
    width = int(end.max(initial=0)) + 1
    bounds = response * width + start
    n_teacher, log_teacher = _means(bounds, teacher, width)
    n_student, log_student = _means(bounds, student, width)

    scored = (n_teacher > 0) & (n_student > 0)
    ratio = np.log(min_probability_ratio)
    gap = np.where(scored, log_teacher - log_student, 0.0)
    kind = np.select(
        [~scored, gap >= ratio, gap <= -ratio], [UNSCORED, TEACHER, STUDENT], default=SHARED
    )
    first = np.repeat(np.cumsum(n_sentences) - n_sentences, n_sentences)
    sentences = pa.table(
        {
            "response_id": filtered["response_id"].take(pa.array(response)),
            "sentence_index": pa.array(np.arange(len(response)) - first, pa.int32()),
            "part": pa.array([s.part for sentences in cut for s in sentences], pa.string()),
            "start_byte": pa.array(start, pa.int32()),
            "end_byte": pa.array(end, pa.int32()),
            "n_teacher_tokens": pa.array(n_teacher, pa.int32()),
            "n_student_tokens": pa.array(n_student, pa.int32()),
            "p_teacher": _probabilities(log_teacher, n_teacher),
            "p_student": _probabilities(log_student, n_student),
            "sentence_class": pa.array(kind.tolist(), pa.string()),
        },
        schema=SENTENCE_PROVENANCE,
    )
    return Provenance(sentences, _responses(filtered, scores, response, kind, teacher, student))


def _matched(filtered: pa.Table, scores: pa.Table) -> pa.Table:
    """The scores in the order of the responses."""
    wanted = filtered["response_id"].to_pylist()
    found = {name: index for index, name in enumerate(scores["response_id"].to_pylist())}
    missing = [name for name in wanted if name not in found]
    extra = sorted(set(found) - set(wanted))
    if missing or extra or len(found) != scores.num_rows or len(set(wanted)) != len(wanted):
        raise ContractError(
            f"filtered_responses and student_scores do not match: {len(missing)} responses "
            f"without scores {missing[:3]}, {len(extra)} scores without a response {extra[:3]}, "
            f"{scores.num_rows - len(found)} scores twice"
        )
    return scores.take(pa.array([found[name] for name in wanted], pa.int64()))


def _tokens(starts: pa.ChunkedArray, logprobs: pa.ChunkedArray) -> _Tokens:
    """Flatten two list columns, template tokens left out."""
    lengths = starts.combine_chunks().value_lengths().to_numpy(zero_copy_only=False)
    start = starts.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    logprob = logprobs.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    response = np.repeat(np.arange(len(lengths)), lengths)
    kept = start >= 0
    return _Tokens(response[kept], start[kept].astype(np.int64), logprob[kept].astype(np.float64))


def _means(bounds: Integers, tokens: _Tokens, width: int) -> tuple[Integers, Floats]:
    """Number of tokens and mean logprob per sentence; a mean over no token is 0."""
    n = len(bounds)
    place = np.searchsorted(bounds, tokens.response * width + tokens.start, side="right") - 1
    counts = np.bincount(place, minlength=n)
    sums = np.bincount(place, weights=tokens.logprob, minlength=n)
    return counts, sums / np.maximum(counts, 1)


def _probabilities(log_means: Floats, counts: Integers) -> pa.Array:
    return pa.array(np.exp(log_means), pa.float32(), mask=counts == 0)


def _responses(
    filtered: pa.Table,
    scores: pa.Table,
    response: Integers,
    kind: npt.NDArray[np.str_],
    teacher: _Tokens,
    student: _Tokens,
) -> pa.Table:
    n = filtered.num_rows
    counts = {
        name: np.bincount(response[kind == name], minlength=n)
        for name in (TEACHER, STUDENT, SHARED)
    }
    n_scored = counts[TEACHER] + counts[STUDENT] + counts[SHARED]
    ranks = scores["ranks"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    kept = scores["token_starts"].combine_chunks().flatten().to_numpy(zero_copy_only=False) >= 0
    return pa.table(
        {
            **{
                name: filtered[name]
                for name in (
                    "response_id", "question_id", "domain", "sample_index",
                    "n_teacher_tokens", "n_student_tokens",
                )
            },
            "n_sentences": pa.array(n_scored, pa.int32()),
            "n_teacher_sentences": pa.array(counts[TEACHER], pa.int32()),
            "n_student_sentences": pa.array(counts[STUDENT], pa.int32()),
            "n_shared_sentences": pa.array(counts[SHARED], pa.int32()),
            "teacher_sentence_share": pa.array(
                counts[TEACHER] / np.maximum(n_scored, 1), pa.float32()
            ),
            "p_teacher": pa.array(np.exp(_per_response(teacher, teacher.logprob, n)), pa.float32()),
            "p_student": pa.array(np.exp(_per_response(student, student.logprob, n)), pa.float32()),
            "mean_student_rank": pa.array(_per_response(student, ranks[kept], n), pa.float32()),
        },
        schema=RESPONSE_PROVENANCE,
    )  # fmt: skip


def _per_response(tokens: _Tokens, values: npt.NDArray[np.generic], n: int) -> Floats:
    sums = np.bincount(tokens.response, weights=values, minlength=n)
    return sums / np.maximum(np.bincount(tokens.response, minlength=n), 1)
