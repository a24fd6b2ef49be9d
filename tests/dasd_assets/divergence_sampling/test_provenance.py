"""Provenance against a slow, obviously right oracle, and the properties it must have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dasd_assets.divergence_sampling import provenance as module
from dasd_assets.divergence_sampling.provenance import Provenance, sentence_provenance
from dasd_assets.divergence_sampling.sentences import DEFAULT_SEGMENTER, response_sentences
from dasd_assets.response_filtering.student_format import student_text
from resources.contracts import (
    FILTERED_RESPONSES,
    RESPONSE_PROVENANCE,
    SENTENCE_PROVENANCE,
    STUDENT_SCORES,
    ContractError,
)

RATIO = 2.0
WORDS = ["We", "add", "naïve", "3.5", "so.", "No!", "数。", "😀", "is\n", "e.g.", "```\nx\n```\n"]


@dataclass(frozen=True)
class Tokens:
    """Byte starts and logprobs of one model's tokens; ranks for the student."""

    starts: list[int]
    logprobs: list[float]

    def columns(self, prefix: str) -> dict[str, Any]:
        return {f"{prefix}token_starts": self.starts, f"{prefix}logprobs": self.logprobs}


def filtered_row(name: str, reasoning: str, answer: str, tokens: Tokens) -> dict[str, Any]:
    return {
        "response_id": name, "question_id": f"q-{name}", "domain": "math", "question": "?",
        "sample_index": 0, "logprobs_mode": "raw_logprobs", "reasoning": reasoning,
        "answer": answer, "response_text": student_text(reasoning, answer),
        "n_teacher_tokens": len(tokens.starts), "n_student_tokens": 7,
        **tokens.columns("teacher_"),
    }  # fmt: skip


def score_row(name: str, tokens: Tokens) -> dict[str, Any]:
    n = len(tokens.starts)
    return {
        "response_id": name, "model": "student", "model_revision": "0",
        "token_ids": [1] * n, "ranks": list(range(1, 5 * n, 5)), **tokens.columns(""),
    }  # fmt: skip


def random_rows(n: int, seed: int) -> tuple[pa.Table, pa.Table]:
    """Random texts, under two random tokenisations of their bytes; some template tokens."""
    rng = np.random.default_rng(seed)
    filtered, scores = [], []
    for index in range(n):
        reasoning, answer = (
            " ".join(rng.choice(WORDS, rng.integers(1, 40))).strip() for _ in range(2)
        )
        n_bytes = len(student_text(reasoning, answer).encode())
        sides = []
        for _ in range(2):
            starts = np.unique(np.r_[8, rng.integers(0, n_bytes, rng.integers(1, 60))])
            starts = np.where(rng.random(len(starts)) < 0.1, -1, starts)
            starts[0] = 8
            logprobs = -rng.exponential(1.0, len(starts))
            sides.append(Tokens(starts.tolist(), logprobs.tolist()))
        filtered.append(filtered_row(f"r{index}", reasoning, answer, sides[0]))
        scores.append(score_row(f"r{index}", sides[1]))
    return tables(filtered, scores)


def tables(
    filtered: list[dict[str, Any]], scores: list[dict[str, Any]]
) -> tuple[pa.Table, pa.Table]:
    return (
        pa.Table.from_pylist(filtered, schema=FILTERED_RESPONSES),
        pa.Table.from_pylist(scores, schema=STUDENT_SCORES),
    )


def run(filtered: pa.Table, scores: pa.Table) -> Provenance:
    return sentence_provenance(filtered, scores, RATIO, DEFAULT_SEGMENTER)


def two_sentences(teacher: Tokens, student: Tokens) -> list[dict[str, Any]]:
    """Provenance of the reasoning "One. Two." and the answer "3"."""
    result = run(*tables([filtered_row("r", "One. Two.", "3", teacher)], [score_row("r", student)]))
    return result.sentences.to_pylist()


def oracle(filtered: pa.Table, scores: pa.Table) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Token by token, sentence by sentence."""
    by_id = {row["response_id"]: row for row in scores.to_pylist()}
    sentences, responses = [], {}
    for row in filtered.to_pylist():
        score = by_id[row["response_id"]]
        classes = []
        everything: dict[str, list[float]] = {"t": [], "s": [], "rank": []}
        n_tokens = dict.fromkeys(("teacher", "student", "shared", "unscored"), 0)
        cut = response_sentences(row["reasoning"], row["answer"], DEFAULT_SEGMENTER)
        for index, sentence in enumerate(cut):
            inside = range(sentence.start_byte, sentence.end_byte)
            teacher = [
                logprob
                for start, logprob in zip(
                    row["teacher_token_starts"], row["teacher_logprobs"], strict=True
                )
                if start in inside
            ]
            student, ranks = [], []
            for start, logprob, rank in zip(
                score["token_starts"], score["logprobs"], score["ranks"], strict=True
            ):
                if start in inside:
                    student.append(logprob)
                    ranks.append(rank)
            p_teacher = math.exp(sum(teacher) / len(teacher)) if teacher else None
            p_student = math.exp(sum(student) / len(student)) if student else None
            if p_teacher is None or p_student is None:
                kind = "unscored"
            elif p_teacher >= RATIO * p_student:
                kind = "teacher"
            elif p_student >= RATIO * p_teacher:
                kind = "student"
            else:
                kind = "shared"
            classes.append(kind)
            everything["t"] += teacher
            everything["s"] += student
            everything["rank"] += ranks
            n_tokens[kind] += len(student)
            sentences.append(
                {
                    "response_id": row["response_id"], "sentence_index": index,
                    "part": sentence.part, "start_byte": sentence.start_byte,
                    "end_byte": sentence.end_byte, "n_teacher_tokens": len(teacher),
                    "n_student_tokens": len(student), "p_teacher": p_teacher,
                    "p_student": p_student, "sentence_class": kind,
                }
            )  # fmt: skip
        n_scored = len(classes) - classes.count("unscored")
        responses[row["response_id"]] = {
            "n_sentences": n_scored,
            **{f"n_{kind}_sentences": classes.count(kind)
               for kind in ("teacher", "student", "shared")},
            "teacher_sentence_share": classes.count("teacher") / max(n_scored, 1),
            "p_teacher": math.exp(np.mean(everything["t"])),
            "p_student": math.exp(np.mean(everything["s"])),
            "mean_student_rank": float(np.mean(everything["rank"])),
            "mean_clipped_student_rank": float(np.mean([min(r, 100) for r in everything["rank"]])),
            **{f"n_{kind}_sentence_tokens": n_tokens[kind]
               for kind in ("teacher", "student", "shared")},
        }  # fmt: skip
    return sentences, responses


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_the_oracle(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESPONSES_PER_BLOCK", 7)
    filtered, scores = random_rows(20, seed)
    result = run(filtered, scores)
    assert result.sentences.schema.equals(SENTENCE_PROVENANCE, check_metadata=True)
    assert result.responses.schema.equals(RESPONSE_PROVENANCE, check_metadata=True)
    sentences, responses = oracle(filtered, scores)
    assert {row["sentence_class"] for row in sentences} == {
        "teacher", "student", "shared", "unscored",
    }  # fmt: skip
    assert result.sentences.num_rows == len(sentences)
    for row, expected in zip(result.sentences.to_pylist(), sentences, strict=True):
        for name in ("p_teacher", "p_student"):
            assert row.pop(name) == pytest.approx(expected.pop(name), abs=1e-6)
        assert row == expected
    assert result.responses["response_id"].to_pylist() == filtered["response_id"].to_pylist()
    for row in result.responses.to_pylist():
        expected = responses[row["response_id"]]
        assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-6, rel=1e-6)


def test_order_of_the_rows_changes_nothing() -> None:
    filtered, scores = random_rows(12, 0)
    whole = run(filtered, scores)
    order = np.random.default_rng(1)
    shuffled = run(filtered.take(order.permutation(12)), scores.take(order.permutation(12)))
    keys = [("response_id", "ascending"), ("sentence_index", "ascending")]
    assert shuffled.sentences.sort_by(keys).equals(whole.sentences.sort_by(keys))
    assert shuffled.responses.sort_by(keys[:1]).equals(whole.responses.sort_by(keys[:1]))


def test_rows_come_from_slices_and_many_chunks_alike() -> None:
    filtered, scores = random_rows(9, 2)
    part = run(filtered.slice(3, 4), scores.slice(3, 4))
    ids = pa.array([f"r{index}" for index in range(3, 7)])
    whole = run(filtered, scores).sentences
    assert part.sentences.equals(whole.filter(pc.is_in(whole["response_id"], ids)))
    chunked = pa.concat_tables([filtered.slice(index, 1) for index in range(9)])
    assert run(chunked, scores).sentences.equals(whole)


def test_splitting_tokens_keeps_the_log_sum_of_a_sentence() -> None:
    coarse = two_sentences(Tokens([8, 13, 28], [-1.0, -2.0, -0.5]), Tokens([8], [-1.0]))
    fine = two_sentences(
        Tokens([8, 10, 13, 15, 16, 28], [-0.25, -0.75, -0.5, -0.5, -1.0, -0.5]), Tokens([8], [-1.0])
    )
    for before, after in zip(coarse, fine, strict=True):
        sums = [math.log(row["p_teacher"]) * row["n_teacher_tokens"] for row in (before, after)]
        assert sums[0] == pytest.approx(sums[1], abs=1e-6)


def test_a_token_across_a_boundary_counts_once() -> None:
    # "One. Two." starts at byte 8; the second sentence at 13. Byte 12 is the space before it.
    rows = two_sentences(Tokens([8, 12, 28], [-1.0, -3.0, -1.0]), Tokens([8, 13], [-1.0, -1.0]))
    assert [row["n_teacher_tokens"] for row in rows] == [2, 0, 1]
    assert [row["n_student_tokens"] for row in rows] == [1, 1, 0]
    assert [row["sentence_class"] for row in rows] == ["student", "unscored", "unscored"]
    assert rows[1]["p_teacher"] is None
    assert rows[2]["p_student"] is None


def test_template_tokens_belong_to_no_sentence_even_if_they_have_a_place() -> None:
    # Bytes 0-7 are <think>, 17-27 are </think>, both with line breaks; 29 is beyond the text.
    template = Tokens([-1, 0, 8, 17, 27, 29, 500], [-9.0, -9.0, -1.0, -9.0, -9.0, -9.0, -9.0])
    rows = two_sentences(template, Tokens([8, 13, 28], [-1.0] * 3))
    assert sum(row["n_teacher_tokens"] for row in rows) == 1
    assert rows[0]["p_teacher"] == pytest.approx(math.exp(-1))


@pytest.mark.parametrize(
    ("gap", "kind"),
    [(0.6932, "teacher"), (0.6931, "shared"), (-0.6931, "shared"), (-0.6932, "student")],
)
def test_classes_at_the_ratio(gap: float, kind: str) -> None:
    rows = two_sentences(Tokens([8], [-1.0 + gap / 2]), Tokens([8], [-1.0 - gap / 2]))
    assert rows[0]["sentence_class"] == kind


def test_a_logprob_rounded_above_zero_is_no_probability_above_one() -> None:
    rows = two_sentences(Tokens([8], [5e-5]), Tokens([8], [0.0]))
    assert rows[0]["p_teacher"] == 1.0


def test_no_responses_give_empty_tables() -> None:
    result = run(*tables([], []))
    assert result.sentences.num_rows == result.responses.num_rows == 0
    assert result.sentences.schema.equals(SENTENCE_PROVENANCE)


@pytest.mark.parametrize(
    ("responses", "scored", "message"),
    [
        ([0, 1, 2], [0, 2], r"1 responses without scores \['r1'\]"),
        ([0, 2], [0, 1, 2], r"1 scores without a response \['r1'\]"),
        ([0, 1], [0, 1, 1], "1 rows with a response_id that was there before"),
        ([0, 0, 1], [0, 1], "1 rows with a response_id that was there before"),
    ],
)
def test_responses_and_scores_must_match(
    responses: list[int], scored: list[int], message: str
) -> None:
    filtered, scores = random_rows(3, 0)
    with pytest.raises(ContractError, match=message):
        run(filtered.take(responses), scores.take(scored))


@pytest.mark.parametrize(
    ("teacher", "student", "message"),
    [
        (Tokens([8, 13], [-1.0]), Tokens([8], [-1.0]), "differ in length"),
        (Tokens([8], [-1.0]), Tokens([8, 13], [-1.0, math.nan]), "not finite"),
        (Tokens([8], [-math.inf]), Tokens([8], [-1.0]), "not finite"),
        (Tokens([-1], [-1.0]), Tokens([8], [-1.0]), "places no token"),
    ],
)
def test_logprobs_are_never_made_up(teacher: Tokens, student: Tokens, message: str) -> None:
    with pytest.raises(ContractError, match=f"response r: .*{message}"):
        two_sentences(teacher, student)
