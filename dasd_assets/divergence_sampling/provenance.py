"""Sentence provenance: whose sentence is it, the teacher's or the student's? (paper section 4)

For a sentence s with tokens t_1..t_n under a model's own tokenizer,
p_M(s) = exp((1/n) Σ log p_M(t_i | prompt, t_<i)). One pass over two streams of batches: memory does
not grow with the number of responses. docs/provenance.md explains the rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.divergence_sampling.paired_batches import paired
from dasd_assets.divergence_sampling.sentence_tokens import (
    Floats,
    SentenceTokens,
    flat,
    list_lengths,
    require,
    tokens_by_sentence,
)
from dasd_assets.divergence_sampling.sentences import Segmenter, SentenceSpans, sentence_spans
from dasd_assets.profile import ClassRule
from formats.student_text import THINK_CLOSE, THINK_OPEN
from resources.lake.tables.divergence_sampling import RESPONSE_PROVENANCE, SENTENCE_PROVENANCE

TEACHER, STUDENT, COMMON, UNSCORED = "teacher", "student", "common", "unscored"
_CLASSES = (TEACHER, STUDENT, COMMON, UNSCORED)

LARGEST_RANK = 100
"""Ranks beyond it count as this in the clipped mean (arXiv 2601.14249, r_max)."""

TAKEN_OVER = (
    "response_id", "question_id", "domain", "sample_index", "n_teacher_tokens", "n_student_tokens",
)  # fmt: skip
"""Columns of the responses that their provenance repeats."""

FILTERED_COLUMNS = [
    *TAKEN_OVER, "reasoning", "answer", "response_text", "teacher_logprobs", "teacher_token_starts",
]  # fmt: skip
SCORE_COLUMNS = ["response_id", "logprobs", "ranks", "token_starts"]

Classes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Provenance:
    """Rows per sentence (SENTENCE_PROVENANCE) and per response (RESPONSE_PROVENANCE)."""

    sentences: pa.RecordBatch
    responses: pa.RecordBatch


@dataclass(frozen=True)
class Side:
    """One model's view of the sentences: tokens and sum of their logprobs (float64)."""

    tokens: SentenceTokens
    log_sum: Floats

    @property
    def log_mean(self) -> Floats:
        """log p_M of each sentence; 0 where there is no token."""
        return self.log_sum / np.maximum(self.tokens.count, 1)


def sentence_provenance(
    filtered: Iterable[pa.RecordBatch],
    scores: Iterable[pa.RecordBatch],
    rule: ClassRule,
    segmenter: Segmenter,
) -> Iterator[Provenance]:
    """Classify every sentence of every response, block by block.

    Teacher Sentence: p_T is far above p_S by the rule; Student Sentence: p_S is far above p_T;
    otherwise Common (arXiv 2512.20908; the caption of the report's Fig. 5). A sentence in which one
    side has no token is unscored, and counts for nothing: so are all of an imported answer of which
    nobody knows the teacher's probabilities.

    Args:
        filtered: FILTERED_COLUMNS of rows with the schema FILTERED_RESPONSES.
        scores: SCORE_COLUMNS of rows with the schema STUDENT_SCORES, for the same responses in the
            same order; the batches may be cut elsewhere.
        rule: what far above is.

    Raises:
        ContractError: the rows do not match; or the text of a response is not its parts, its tokens
            do not fit its text, or its logprobs are not one per token, not finite, or missing for
            one of the models. The message names the response.
    """
    for responses, scored in paired(filtered, scores):
        yield _block(responses, scored, rule, segmenter)


def _block(
    filtered: pa.RecordBatch,
    scores: pa.RecordBatch,
    rule: ClassRule,
    segmenter: Segmenter,
) -> Provenance:
    reasoning, answer = filtered["reasoning"], filtered["answer"]
    whole = pc.binary_join_element_wise(THINK_OPEN, reasoning, THINK_CLOSE, answer, "")
    text = pc.if_else(pc.equal(reasoning, ""), answer, whole)
    is_same = pc.equal(text, filtered["response_text"]).to_numpy(zero_copy_only=False)
    require(is_same, filtered, "response_text is not its reasoning and answer")
    spans = sentence_spans(filtered["response_id"], reasoning, answer, segmenter)
    teacher = side_of(filtered, "teacher_token_starts", "teacher_logprobs", spans)
    require(
        list_lengths(scores, "ranks") == list_lengths(scores, "token_starts"),
        scores,
        "ranks and token_starts differ in length",
    )
    student = side_of(scores, "token_starts", "logprobs", spans)
    kind = classes(
        teacher.log_mean,
        student.log_mean,
        (teacher.tokens.count > 0) & (student.tokens.count > 0),
        rule,
    )
    n = len(kind)
    sentences = pa.RecordBatch.from_arrays(
        [
            filtered["response_id"].take(pa.array(spans.response)),
            pa.array(spans.index, pa.int32()),
            pa.array(["reasoning", "answer"]).take(pa.array(spans.is_answer.astype(np.int8))),
            pa.array(spans.start, pa.int32()),
            pa.array(spans.end, pa.int32()),
            pa.array(teacher.tokens.count, pa.int32()),
            pa.array(student.tokens.count, pa.int32()),
            probabilities(teacher.log_mean, teacher.tokens.count == 0),
            probabilities(student.log_mean, student.tokens.count == 0),
            pa.array(_CLASSES).take(pa.array(kind)),
            pa.repeat(f"{segmenter.name} {segmenter.version}", n),
        ],
        schema=SENTENCE_PROVENANCE,
    )
    return Provenance(sentences, _responses(filtered, scores, spans, kind, teacher, student))


def classes(
    log_teacher: Floats,
    log_student: Floats,
    is_scored: npt.NDArray[np.bool_],
    rule: ClassRule,
) -> Classes:
    """Place of each sentence's class in (teacher, student, common, unscored).

    Args:
        log_teacher, log_student: log p_T and log p_S of each sentence.
        is_scored: whether both are known.
    """
    is_teacher = far_above(log_teacher, log_student, rule)
    is_student = far_above(log_student, log_teacher, rule)
    return np.select([~is_scored, is_teacher, is_student], [3, 0, 1], default=2)


def far_above(log_one: Floats, log_other: Floats, rule: ClassRule) -> npt.NDArray[np.bool_]:
    """Whether the first probability of each sentence is far above the second.

    Args:
        log_one, log_other: mean logprobs of the same sentences.
    """
    if rule.kind == "ratio":
        return log_one - log_other >= np.log(rule.ratio)
    return _at_most_one(log_one) - _at_most_one(log_other) > rule.beta


def side_of(rows: pa.RecordBatch, starts: str, logprobs: str, spans: SentenceSpans) -> Side:
    """Sums over the sentences of one model's logprobs.

    Raises:
        ContractError: a response whose logprobs are not one per token, not finite, or none at all.
    """
    require(
        list_lengths(rows, logprobs) == list_lengths(rows, starts),
        rows,
        f"{logprobs} and {starts} differ in length",
    )
    tokens = tokens_by_sentence(rows, starts, spans)
    log_sum = tokens.sums(flat(rows, logprobs))
    is_finite = np.ones(rows.num_rows, bool)
    is_finite[spans.response[~np.isfinite(log_sum)]] = False
    require(is_finite, rows, f"{logprobs} has a value that is not finite")
    return Side(tokens, log_sum)


def probabilities(log_means: Floats, is_missing: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """float32 geometric means of token probabilities from mean logprobs; null where missing."""
    return pa.array(_at_most_one(log_means), pa.float32(), mask=is_missing)


def _at_most_one(log_means: Floats) -> Floats:
    """exp of mean logprobs. The filters let rounding errors just above 0 pass: never above 1."""
    probabilities: Floats = np.exp(np.minimum(log_means, 0.0))
    return probabilities


def _responses(
    filtered: pa.RecordBatch,
    scores: pa.RecordBatch,
    spans: SentenceSpans,
    kind: Classes,
    teacher: Side,
    student: Side,
) -> pa.RecordBatch:
    n = filtered.num_rows

    def totals(of_sentences: npt.NDArray[np.generic]) -> Floats:
        sums = np.bincount(spans.response, of_sentences.astype(np.float64), minlength=n)
        return np.asarray(sums, np.float64)

    def mean(of_sentences: npt.NDArray[np.generic], side: Side) -> Floats:
        return totals(of_sentences) / np.maximum(totals(side.tokens.count), 1)

    is_class = [kind == place for place in range(3)]
    n_by_class = [totals(members) for members in is_class]
    n_scored = np.sum(n_by_class, axis=0)
    ranks = flat(scores, "ranks")
    return pa.RecordBatch.from_arrays(
        [
            *(filtered[name] for name in TAKEN_OVER),
            pa.array(n_scored.astype(np.int32)),
            *(pa.array(count.astype(np.int32)) for count in n_by_class),
            pa.array(n_by_class[0] / np.maximum(n_scored, 1), pa.float32()),
            *(
                pa.array(totals(student.tokens.count * members).astype(np.int32))
                for members in is_class
            ),
            probabilities(
                mean(teacher.log_sum, teacher),
                filtered["teacher_logprobs"].is_null().to_numpy(zero_copy_only=False),
            ),
            probabilities(mean(student.log_sum, student)),
            pa.array(mean(student.tokens.sums(ranks), student), pa.float32()),
            pa.array(
                mean(student.tokens.sums(np.minimum(ranks, LARGEST_RANK)), student), pa.float32()
            ),
        ],
        schema=RESPONSE_PROVENANCE,
    )
