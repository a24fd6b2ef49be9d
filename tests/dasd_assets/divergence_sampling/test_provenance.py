"""Provenance against a slow, obviously right oracle, and the properties it must have."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dasd_assets.divergence_sampling.provenance import (
    FILTERED_COLUMNS,
    SCORE_COLUMNS,
    sentence_provenance,
)
from dasd_assets.divergence_sampling.reasoning_segmenter import ReasoningSegmenter
from dasd_assets.profile.divergence_sampling import ClassRule, DifferenceRule, RatioRule
from formats.student_text import student_text
from resources.lake.table import ContractError
from resources.lake.tables.divergence_sampling import (
    RESPONSE_PROVENANCE,
    SENTENCE_PROVENANCE,
    STUDENT_SCORES,
)
from resources.lake.tables.response_filtering import FILTERED_RESPONSES

RULES: dict[str, ClassRule] = {"difference": DifferenceRule(), "ratio": RatioRule()}
DEFAULT = RULES["difference"]
SEGMENTER = ReasoningSegmenter()
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
            starts = np.where((rng.random(len(starts)) < 0.1) & (starts != 8), -1, starts)
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


@dataclass(frozen=True)
class Result:
    """Both tables of a whole run."""

    sentences: pa.Table
    responses: pa.Table


def run(filtered: pa.Table, scores: pa.Table, rule: ClassRule = DEFAULT) -> Result:
    blocks = list(
        sentence_provenance(
            filtered.select(FILTERED_COLUMNS).to_batches(),
            scores.select(SCORE_COLUMNS).to_batches(),
            rule,
            SEGMENTER,
        )
    )
    return Result(
        pa.Table.from_batches([block.sentences for block in blocks], SENTENCE_PROVENANCE),
        pa.Table.from_batches([block.responses for block in blocks], RESPONSE_PROVENANCE),
    )


def cut_at(table: pa.Table, *rows: int) -> pa.Table:
    """The same rows, in batches that end at the given rows."""
    edges = [0, *rows, table.num_rows]
    return pa.concat_tables([table.slice(a, b - a) for a, b in pairwise(edges)])


def two_sentences(
    teacher: Tokens, student: Tokens, rule: ClassRule = DEFAULT
) -> list[dict[str, Any]]:
    """Provenance of the reasoning "One. Two." and the answer "3"."""
    rows = tables([filtered_row("r", "One. Two.", "3", teacher)], [score_row("r", student)])
    result = run(*rows, rule)
    return result.sentences.to_pylist()


def cut_slowly(row: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Part, first byte and byte after every sentence of a response, found in its text."""
    cut = []
    text = row["response_text"]
    for part, mark in (("reasoning", "<think>\n"), ("answer", "\n</think>\n\n")):
        place = len(text[: text.index(mark) + len(mark)].encode())
        for start, end in pairwise([0, *SEGMENTER.ends(row[part])]):
            n_bytes = len(row[part][start:end].encode())
            cut.append((part, place, place + n_bytes))
            place += n_bytes
    return cut


def far_above(rule: str, one: float, other: float) -> bool:
    """The defaults of both rules, as they are written in the papers."""
    return one - other > 0.1 if rule == "difference" else one >= 2 * other


def oracle(
    filtered: pa.Table, scores: pa.Table, rule: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Token by token, sentence by sentence."""
    by_id = {row["response_id"]: row for row in scores.to_pylist()}
    sentences, responses = [], {}
    for row in filtered.to_pylist():
        score = by_id[row["response_id"]]
        classes = []
        everything: dict[str, list[float]] = {"t": [], "s": [], "rank": []}
        n_tokens = dict.fromkeys(("teacher", "student", "common", "unscored"), 0)
        for index, (part, start_byte, end_byte) in enumerate(cut_slowly(row)):
            inside = range(start_byte, end_byte)
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
            elif far_above(rule, p_teacher, p_student):
                kind = "teacher"
            elif far_above(rule, p_student, p_teacher):
                kind = "student"
            else:
                kind = "common"
            classes.append(kind)
            everything["t"] += teacher
            everything["s"] += student
            everything["rank"] += ranks
            n_tokens[kind] += len(student)
            sentences.append(
                {
                    "response_id": row["response_id"], "sentence_index": index,
                    "part": part, "start_byte": start_byte,
                    "end_byte": end_byte, "n_teacher_tokens": len(teacher),
                    "n_student_tokens": len(student), "p_teacher": p_teacher,
                    "p_student": p_student, "sentence_class": kind,
                    "segmenter": "reasoning-rules 4",
                }
            )  # fmt: skip
        n_scored = len(classes) - classes.count("unscored")
        responses[row["response_id"]] = {
            "n_sentences": n_scored,
            **{f"n_{kind}_sentences": classes.count(kind)
               for kind in ("teacher", "student", "common")},
            "teacher_sentence_share": classes.count("teacher") / max(n_scored, 1),
            "p_teacher": math.exp(np.mean(everything["t"])),
            "p_student": math.exp(np.mean(everything["s"])),
            "mean_student_rank": float(np.mean(everything["rank"])),
            "mean_clipped_student_rank": float(np.mean([min(r, 100) for r in everything["rank"]])),
            **{f"n_{kind}_sentence_tokens": n_tokens[kind]
               for kind in ("teacher", "student", "common")},
        }  # fmt: skip
    return sentences, responses


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_the_oracle(seed: int, rule: str) -> None:
    filtered, scores = random_rows(20, seed)
    result = run(cut_at(filtered, 7, 13), cut_at(scores, 2, 13, 14), RULES[rule])
    assert result.sentences.schema.equals(SENTENCE_PROVENANCE, check_metadata=True)
    assert result.responses.schema.equals(RESPONSE_PROVENANCE, check_metadata=True)
    sentences, responses = oracle(filtered, scores, rule)
    assert {row["sentence_class"] for row in sentences} == {
        "teacher", "student", "common", "unscored",
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


def test_order_of_the_responses_changes_nothing() -> None:
    filtered, scores = random_rows(12, 0)
    whole = run(filtered, scores)
    order = np.random.default_rng(1).permutation(12)
    shuffled = run(filtered.take(order), scores.take(order))
    keys = [("response_id", "ascending"), ("sentence_index", "ascending")]
    assert shuffled.sentences.sort_by(keys).equals(whole.sentences.sort_by(keys))
    assert shuffled.responses.sort_by(keys[:1]).equals(whole.responses.sort_by(keys[:1]))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(1, 8), unique=True).map(sorted),
    st.lists(st.integers(1, 8), unique=True).map(sorted),
)
def test_where_the_batches_are_cut_does_not_show(left: list[int], right: list[int]) -> None:
    filtered, scores = random_rows(9, 2)
    whole = run(filtered, scores)
    cut = run(cut_at(filtered, *left), cut_at(scores, *right))
    assert cut.sentences.equals(whole.sentences)
    assert cut.responses.equals(whole.responses)
    part = run(filtered.slice(3, 4), scores.slice(3, 4)).sentences
    ids = pa.array([f"r{index}" for index in range(3, 7)])
    assert part.equals(whole.sentences.filter(pc.is_in(whole.sentences["response_id"], ids)))


def test_rows_are_asked_for_as_they_are_needed() -> None:
    """Streaming: the first block is there before the second batch has been read."""
    filtered, scores = (cut_at(table, 1, 2) for table in random_rows(3, 0))
    read = 0

    def counted() -> Iterator[pa.RecordBatch]:
        nonlocal read
        for batch in filtered.select(FILTERED_COLUMNS).to_batches():
            read += 1
            yield batch

    blocks = sentence_provenance(
        counted(), scores.select(SCORE_COLUMNS).to_batches(), DEFAULT, SEGMENTER
    )
    for n_read in (1, 2, 3):
        assert next(blocks).responses.num_rows == 1
        assert read == n_read


def test_splitting_tokens_keeps_the_log_sum_of_a_sentence() -> None:
    coarse = two_sentences(Tokens([8, 13, 28], [-1.0, -2.0, -0.5]), Tokens([8], [-1.0]))
    fine = two_sentences(
        Tokens([8, 10, 13, 15, 16, 28], [-0.25, -0.75, -0.5, -0.5, -1.0, -0.5]), Tokens([8], [-1.0])
    )
    for before, after in zip(coarse, fine, strict=True):
        sums = [math.log(row["p_teacher"]) * row["n_teacher_tokens"] for row in (before, after)]
        assert sums[0] == pytest.approx(sums[1], abs=1e-6)


def test_a_sentence_split_into_its_tokens_has_their_log_sum() -> None:
    """Segmenters that cut more or less finely move no probability."""
    filtered, scores = random_rows(6, 4)

    class EveryCharacter:
        name, version = "every-character", "1"

        def ends(self, text: str) -> list[int]:
            return list(range(1, len(text) + 1))

    batches = filtered.select(FILTERED_COLUMNS).to_batches()
    scored = scores.select(SCORE_COLUMNS).to_batches()
    fine = pa.Table.from_batches(
        block.sentences for block in sentence_provenance(batches, scored, DEFAULT, EveryCharacter())
    ).to_pylist()
    for row in run(filtered, scores).sentences.to_pylist():
        inside = [
            piece for piece in fine
            if piece["response_id"] == row["response_id"]
            and row["start_byte"] <= piece["start_byte"] < row["end_byte"]
        ]  # fmt: skip
        for side in ("teacher", "student"):
            n_tokens = sum(piece[f"n_{side}_tokens"] for piece in inside)
            assert n_tokens == row[f"n_{side}_tokens"]
            if n_tokens:
                log_sum = sum(
                    piece[f"n_{side}_tokens"] * math.log(piece[f"p_{side}"])
                    for piece in inside if piece[f"n_{side}_tokens"]
                )  # fmt: skip
                assert math.exp(log_sum / n_tokens) == pytest.approx(row[f"p_{side}"], abs=1e-6)


def test_a_token_across_a_boundary_counts_once() -> None:
    # "One. Two." starts at byte 8; the second sentence at 13. Byte 12 is the space before it.
    rows = two_sentences(Tokens([8, 12, 28], [-1.0, -3.0, -1.0]), Tokens([8, 13], [-1.0, -1.0]))
    assert [row["n_teacher_tokens"] for row in rows] == [2, 0, 1]
    assert [row["n_student_tokens"] for row in rows] == [1, 1, 0]
    assert [row["sentence_class"] for row in rows] == ["student", "unscored", "unscored"]
    assert rows[1]["p_teacher"] is None
    assert rows[2]["p_student"] is None


def test_template_tokens_belong_to_no_sentence_even_if_they_have_a_place() -> None:
    # Bytes 0-7 are <think>, 17-27 are </think>, both with line breaks.
    template = Tokens([-1, 0, 8, 17, 27, -1], [-9.0, -9.0, -1.0, -9.0, -9.0, -9.0])
    rows = two_sentences(template, Tokens([8, 13, 28], [-1.0] * 3))
    assert sum(row["n_teacher_tokens"] for row in rows) == 1
    assert rows[0]["p_teacher"] == pytest.approx(math.exp(-1))


@pytest.mark.parametrize(
    ("gap", "kind"),
    [(0.6932, "teacher"), (0.6931, "common"), (-0.6931, "common"), (-0.6932, "student")],
)
def test_classes_at_the_ratio(gap: float, kind: str) -> None:
    sides = Tokens([8], [-1.0 + gap / 2]), Tokens([8], [-1.0 - gap / 2])
    assert two_sentences(*sides, RULES["ratio"])[0]["sentence_class"] == kind


@pytest.mark.parametrize(
    ("p_teacher", "p_student", "kind"),
    [
        (0.6001, 0.5, "teacher"), (0.5999, 0.5, "common"), (0.5, 0.5999, "common"),
        (0.5, 0.6001, "student"), (0.1, 0.01, "common"), (0.999, 0.89, "teacher"),
    ],
)  # fmt: skip
def test_classes_at_beta(p_teacher: float, p_student: float, kind: str) -> None:
    sides = (Tokens([8], [math.log(p)]) for p in (p_teacher, p_student))
    assert two_sentences(*sides)[0]["sentence_class"] == kind


@pytest.mark.parametrize("beta", [0.0, 1.0, -0.1])
def test_a_beta_that_is_no_difference_of_probabilities_is_refused(beta: float) -> None:
    with pytest.raises(ValidationError, match="beta"):
        DifferenceRule(beta=beta)


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
        ([0, 1, 2], [0, 2], r"row 1 \(from 0\) is response r1 in the first and response r2 in the"),
        ([0, 2], [0, 1, 2], "row 1 .* is response r2 in the first and response r1 in the second"),
        ([0, 1, 2], [0, 1], "row 2 .* is response r2 in the first and nothing in the second"),
        ([0], [0, 1, 2], "row 1 .* is nothing in the first and response r1 in the second"),
        ([], [1], "row 0 .* is nothing in the first and response r1 in the second"),
        ([0, 1], [0, 1, 1], "row 2 .* is nothing in the first and response r1 in the second"),
        ([1, 0], [0, 1], "row 0 .* is response r1 in the first and response r0 in the second"),
    ],
)
@pytest.mark.parametrize("is_cut", [False, True])
def test_responses_and_scores_must_match(
    responses: list[int], scored: list[int], message: str, is_cut: bool
) -> None:
    filtered, scores = random_rows(3, 0)
    filtered, scores = (
        table.take(pa.array(rows, pa.int64()))
        for table, rows in ((filtered, responses), (scores, scored))
    )
    if is_cut:
        scores = cut_at(scores, *range(1, len(scored)))
    with pytest.raises(ContractError, match=f"do not match: {message}"):
        run(filtered, scores)


@pytest.mark.parametrize(
    ("starts", "message"),
    [
        ([8, 13, 29], "has a byte that is not in the text"),  # the text has 29 bytes
        ([8, 13, 500], "has a byte that is not in the text"),
        ([-2, 8], "has a byte that is not in the text"),
        ([13, 8], "does not ascend"),
        ([8, 28, 16, 13], "does not ascend"),
    ],
)
def test_tokens_that_do_not_fit_the_text_are_an_error_that_names_the_response(
    starts: list[int], message: str
) -> None:
    good = Tokens([8, 28], [-1.0, -1.0])
    bad = Tokens(starts, [-1.0] * len(starts))
    for sides, column in ((0, "teacher_token_starts"), (1, "token_starts")):
        filtered = [filtered_row(f"r{i}", "One. Two.", "3", good) for i in range(3)]
        scores = [score_row(f"r{i}", good) for i in range(3)]
        if sides:
            scores[1] = score_row("r1", bad)
        else:
            filtered[1] = filtered_row("r1", "One. Two.", "3", bad)
        with pytest.raises(ContractError, match=f"response r1: {column} {message}"):
            run(*tables(filtered, scores))


def test_an_answer_written_before_the_reasoning_keeps_its_tokens() -> None:
    # Harmony lets the final channel come first; within each part the bytes ascend.
    rows = two_sentences(
        Tokens([28, -1, 8, 13], [-0.5, -9.0, -1.0, -2.0]), Tokens([8, 13, 28], [-1.0] * 3)
    )
    assert [row["p_teacher"] for row in rows] == pytest.approx(
        [math.exp(x) for x in (-1, -2, -0.5)]
    )


def test_ranks_are_one_per_token() -> None:
    tokens = Tokens([8, 13], [-1.0, -1.0])
    score = {**score_row("r", tokens), "ranks": [1]}
    with pytest.raises(ContractError, match="response r: ranks and token_starts differ in length"):
        run(*tables([filtered_row("r", "One. Two.", "3", tokens)], [score]))


def test_a_text_that_is_not_its_parts_is_an_error() -> None:
    row = filtered_row("r", "One. Two.", "3", Tokens([8], [-1.0]))
    row["response_text"] = row["response_text"].replace("Two", "Six")
    with pytest.raises(ContractError, match="response r: response_text is not its reasoning"):
        run(*tables([row], [score_row("r", Tokens([8], [-1.0]))]))


@pytest.mark.parametrize("ends", [[3], [3, 3, 9], [5, 2, 9], [12], []])
def test_a_segmenter_that_loses_bytes_is_an_error(ends: list[int]) -> None:
    class Broken:
        name, version = "broken", "1"

        def ends(self, text: str) -> list[int]:
            return ends if text == "One. Two." else [len(text)]

    tokens = Tokens([8], [-1.0])
    filtered, scores = tables(
        [
            filtered_row(name, text, "3", tokens)
            for name, text in (("a", "Fine."), ("r", "One. Two."))
        ],
        [score_row(name, tokens) for name in "ar"],
    )
    with pytest.raises(ContractError, match="response r: segmenter broken 1 loses or repeats"):
        list(sentence_provenance(filtered.to_batches(), scores.to_batches(), DEFAULT, Broken()))


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
