"""Sentence provenance: whose sentence is it, the teacher's or the student's? (paper section 4)

For a sentence s with tokens t_1..t_n under a model's own tokenizer,
p_M(s) = exp((1/n) Σ log p_M(t_i | prompt, t_<i)). A token belongs to the sentence that holds its
first non-space byte; tokens of the template belong to none. Responses are worked on in blocks, so
that beside the tables only one block's tokens are in memory as arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dasd_assets.divergence_sampling.sentences import Segmenter, response_sentences
from resources.contracts import RESPONSE_PROVENANCE, SENTENCE_PROVENANCE, ContractError

TEACHER, STUDENT, SHARED, UNSCORED = "teacher", "student", "shared", "unscored"

LARGEST_RANK = 100
"""Ranks beyond it count as this in the clipped mean (arXiv 2601.14249, r_max)."""

RESPONSES_PER_BLOCK = 256
TAKEN_OVER = (
    "response_id", "question_id", "domain", "sample_index", "n_teacher_tokens", "n_student_tokens",
)  # fmt: skip
"""Columns of the responses that their provenance repeats."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Provenance:
    """Rows per sentence (SENTENCE_PROVENANCE) and per response (RESPONSE_PROVENANCE)."""

    sentences: pa.Table
    responses: pa.Table


@dataclass(frozen=True)
class _Spans:
    """Sentences of a block in order: which response, which bytes of its text."""

    response: Integers
    start: Integers
    end: Integers

    @property
    def width(self) -> int:
        """On one line of bytes for the whole block, response i starts at i x width."""
        return int(self.end.max(initial=0)) + 1

    def holding(self, response: Integers, byte: Integers) -> Integers:
        """Index of the sentence that holds each byte of each response; -1 if none does."""
        place = response * self.width + byte
        sentence = np.searchsorted(self.response * self.width + self.start, place, "right") - 1
        # The last sentence that starts before a byte may end before it, or in an earlier response.
        inside = sentence >= 0
        found = sentence[inside]
        inside[inside] = (self.response[found] == response[inside]) & (
            byte[inside] < self.end[found]
        )
        return np.where(inside, sentence, -1)


@dataclass(frozen=True)
class _Tokens:
    """One model's tokens that belong to a sentence: which response, which sentence, logprob."""

    response: Integers
    sentence: Integers
    logprob: Floats
    is_kept: npt.NDArray[np.bool_]
    """Of all tokens of the block: whether it belongs to a sentence."""


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
        ContractError: a response without scores, scores without a response, or a response whose
            logprobs are not one per token, not finite, or missing for one of the models.
    """
    scores = _matched(filtered, scores)
    blocks = [
        _block(
            filtered.slice(first, RESPONSES_PER_BLOCK).combine_chunks(),
            scores.slice(first, RESPONSES_PER_BLOCK).combine_chunks(),
            min_probability_ratio,
            segmenter,
        )
        for first in range(0, max(filtered.num_rows, 1), RESPONSES_PER_BLOCK)
    ]
    return Provenance(
        pa.concat_tables([block.sentences for block in blocks]),
        pa.concat_tables([block.responses for block in blocks]),
    )


def _block(
    filtered: pa.Table, scores: pa.Table, min_probability_ratio: float, segmenter: Segmenter
) -> Provenance:
    cut = [
        response_sentences(reasoning, answer, segmenter)
        for reasoning, answer in zip(
            filtered["reasoning"].to_pylist(), filtered["answer"].to_pylist(), strict=True
        )
    ]
    n_sentences = np.array([len(sentences) for sentences in cut], np.int64)
    spans = _Spans(
        np.repeat(np.arange(len(cut)), n_sentences),
        np.array([s.start_byte for sentences in cut for s in sentences], np.int64),
        np.array([s.end_byte for sentences in cut for s in sentences], np.int64),
    )
    teacher = _tokens(filtered, "teacher_token_starts", "teacher_logprobs", spans)
    student = _tokens(scores, "token_starts", "logprobs", spans)
    n_teacher, log_teacher = _means(teacher.sentence, teacher.logprob, len(spans.start))
    n_student, log_student = _means(student.sentence, student.logprob, len(spans.start))

    scored = (n_teacher > 0) & (n_student > 0)
    ratio = np.log(min_probability_ratio)
    gap = log_teacher - log_student
    kind = np.select(
        [~scored, gap >= ratio, gap <= -ratio], [UNSCORED, TEACHER, STUDENT], default=SHARED
    )
    first = np.repeat(np.cumsum(n_sentences) - n_sentences, n_sentences)
    sentences = pa.table(
        {
            "response_id": filtered["response_id"].take(pa.array(spans.response)),
            "sentence_index": pa.array(np.arange(len(first)) - first, pa.int32()),
            "part": pa.array([s.part for sentences in cut for s in sentences], pa.string()),
            "start_byte": pa.array(spans.start, pa.int32()),
            "end_byte": pa.array(spans.end, pa.int32()),
            "n_teacher_tokens": pa.array(n_teacher, pa.int32()),
            "n_student_tokens": pa.array(n_student, pa.int32()),
            "p_teacher": _probabilities(log_teacher, n_teacher == 0),
            "p_student": _probabilities(log_student, n_student == 0),
            "sentence_class": pa.array(kind.tolist(), pa.string()),
        },
        schema=SENTENCE_PROVENANCE,
    )
    return Provenance(sentences, _responses(filtered, scores, spans, kind, teacher, student))


def _matched(filtered: pa.Table, scores: pa.Table) -> pa.Table:
    """The scores in the order of the responses."""
    wanted, scored = filtered["response_id"].to_pylist(), scores["response_id"].to_pylist()
    place = {name: index for index, name in enumerate(scored)}
    missing = [name for name in wanted if name not in place]
    extra = sorted(set(place) - set(wanted))
    n_twice = len(wanted) - len(set(wanted)) + len(scored) - len(place)
    if missing or extra or n_twice:
        raise ContractError(
            f"filtered_responses and student_scores do not match: {len(missing)} responses "
            f"without scores {missing[:3]}, {len(extra)} scores without a response {extra[:3]}, "
            f"{n_twice} rows with a response_id that was there before"
        )
    if wanted == scored:
        return scores
    return scores.take(pa.array([place[name] for name in wanted], pa.int64()))


def _tokens(rows: pa.Table, starts: str, logprobs: str, spans: _Spans) -> _Tokens:
    """Flatten two list columns and find the sentence of each token.

    Raises:
        ContractError: a response whose logprobs are not one per token, not finite, or none at all.
    """
    lengths = rows[starts].combine_chunks().value_lengths().to_numpy(zero_copy_only=False)
    n_logprobs = rows[logprobs].combine_chunks().value_lengths().to_numpy(zero_copy_only=False)
    _require(n_logprobs == lengths, rows, f"{logprobs} and {starts} differ in length")
    response = np.repeat(np.arange(len(lengths)), lengths)
    logprob = _flat(rows, logprobs).astype(np.float64)
    sentence = spans.holding(response, _flat(rows, starts).astype(np.int64))
    is_kept = sentence >= 0
    n_bad = np.bincount(response[is_kept & ~np.isfinite(logprob)], minlength=len(lengths))
    _require(n_bad == 0, rows, f"{logprobs} has a value that is not finite")
    n_kept = np.bincount(response[is_kept], minlength=len(lengths))
    _require(n_kept > 0, rows, f"{starts} places no token in the text")
    return _Tokens(response[is_kept], sentence[is_kept], logprob[is_kept], is_kept)


def _require(holds: npt.NDArray[np.bool_], rows: pa.Table, problem: str) -> None:
    if not holds.all():
        name = rows["response_id"][int(np.argmin(holds))].as_py()
        raise ContractError(f"response {name}: {problem}")


def _flat(rows: pa.Table, column: str) -> npt.NDArray[np.generic]:
    values: npt.NDArray[np.generic] = (
        rows[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    )
    return values


def _means(
    group: Integers, values: npt.NDArray[np.generic], n_groups: int
) -> tuple[Integers, Floats]:
    """Number and mean of the values of each group; the mean over none is 0."""
    counts = np.bincount(group, minlength=n_groups)
    return counts, np.bincount(group, values, n_groups) / np.maximum(counts, 1)


def _probabilities(log_means: Floats, is_missing: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """exp of mean logprobs. The filters let rounding errors just above 0 pass: never above 1."""
    return pa.array(np.exp(np.minimum(log_means, 0.0)), pa.float32(), mask=is_missing)


def _responses(
    filtered: pa.Table,
    scores: pa.Table,
    spans: _Spans,
    kind: npt.NDArray[np.str_],
    teacher: _Tokens,
    student: _Tokens,
) -> pa.Table:
    n = filtered.num_rows
    n_by_class = {
        name: np.bincount(spans.response[kind == name], minlength=n)
        for name in (TEACHER, STUDENT, SHARED)
    }
    n_scored = n_by_class[TEACHER] + n_by_class[STUDENT] + n_by_class[SHARED]
    share = n_by_class[TEACHER] / np.maximum(n_scored, 1)
    tokens_by_class = {
        name: np.bincount(student.response[kind[student.sentence] == name], minlength=n)
        for name in (TEACHER, STUDENT, SHARED)
    }
    ranks = _flat(scores, "ranks")[student.is_kept]
    clipped_ranks = np.minimum(ranks, LARGEST_RANK)
    return pa.table(
        {
            **{name: filtered[name] for name in TAKEN_OVER},
            "n_sentences": pa.array(n_scored, pa.int32()),
            "n_teacher_sentences": pa.array(n_by_class[TEACHER], pa.int32()),
            "n_student_sentences": pa.array(n_by_class[STUDENT], pa.int32()),
            "n_shared_sentences": pa.array(n_by_class[SHARED], pa.int32()),
            "teacher_sentence_share": pa.array(share, pa.float32()),
            "n_teacher_sentence_tokens": pa.array(tokens_by_class[TEACHER], pa.int32()),
            "n_student_sentence_tokens": pa.array(tokens_by_class[STUDENT], pa.int32()),
            "n_shared_sentence_tokens": pa.array(tokens_by_class[SHARED], pa.int32()),
            "p_teacher": _probabilities(_means(teacher.response, teacher.logprob, n)[1]),
            "p_student": _probabilities(_means(student.response, student.logprob, n)[1]),
            "mean_student_rank": pa.array(_means(student.response, ranks, n)[1], pa.float32()),
            "mean_clipped_student_rank": pa.array(
                _means(student.response, clipped_ranks, n)[1], pa.float32()
            ),
        },
        schema=RESPONSE_PROVENANCE,
    )
