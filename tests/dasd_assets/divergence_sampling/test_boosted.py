"""Boosted Sentences: teacher and base student agree, the distilled model does not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dasd_assets.divergence_sampling.boosted import boosted, boosted_sentences
from dasd_assets.divergence_sampling.provenance import sentence_provenance
from dasd_assets.divergence_sampling.sentences import segmenter_named
from formats.student_text import student_text
from resources.lake.table import ContractError
from resources.lake.tables.divergence_sampling import (
    BOOSTED_SENTENCES,
    SENTENCE_PROVENANCE,
    STUDENT_SCORES,
)
from resources.lake.tables.response_filtering import FILTERED_RESPONSES

RATIO = 2.0
RULES = segmenter_named("reasoning-rules")
STARTS = [8, 13, 18, 23, 38]
"""First bytes of "One. ", "Two. ", "Six. ", "Ten." and of the answer "3"."""


def test_far_from_both_is_boosted_above_and_below() -> None:
    nan = float("nan")
    cases = [
        (0.2, 0.3, 0.61, True), (0.2, 0.3, 0.59, False), (0.2, 0.3, 0.09, True),
        (0.2, 0.3, 0.11, False), (0.2, 0.4, 0.9, False), (0.2, 0.3, 0.25, False),
        (0.3, 0.2, 0.61, True), (nan, 0.3, 0.9, False), (0.2, 0.3, nan, False),
        (0.2, 0.3, 0.0, True),
    ]  # fmt: skip
    p_teacher, p_student, p_distilled, expected = zip(*cases, strict=True)
    found = boosted(np.array(p_teacher), np.array(p_student), np.array(p_distilled), RATIO)
    assert found.tolist() == list(expected)


def filtered(n: int = 2) -> pa.Table:
    reasoning = "One. Two. Six. Ten."
    rows = [
        {
            "response_id": f"r{index}", "question_id": "q", "domain": "math", "question": "?",
            "sample_index": 0, "logprobs_mode": "raw_logprobs", "reasoning": reasoning,
            "answer": "3", "response_text": student_text(reasoning, "3"), "n_teacher_tokens": 4,
            "n_student_tokens": 5, "teacher_token_starts": STARTS[:4],
            "teacher_logprobs": [math.log(p) for p in (0.2, 0.2, 0.8, 0.2)],
        }
        for index in range(n)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, FILTERED_RESPONSES)


def scores(probabilities: list[float], n: int = 2) -> pa.Table:
    rows: list[dict[str, Any]] = [
        {
            "response_id": f"r{index}", "model": "m", "model_revision": "0", "token_ids": [1] * 5,
            "logprobs": [math.log(p) for p in probabilities], "ranks": [1] * 5,
            "token_starts": STARTS,
        }
        for index in range(n)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, STUDENT_SCORES)


def before(min_probability_ratio: float = RATIO) -> pa.Table:
    """Provenance under the base student: shared, shared, teacher, student, unscored."""
    blocks = sentence_provenance(
        filtered().to_batches(), scores([0.2, 0.3, 0.1, 0.9, 0.5]).to_batches(),
        min_probability_ratio, RULES,
    )  # fmt: skip
    return pa.Table.from_batches([block.sentences for block in blocks], SENTENCE_PROVENANCE)


def test_sentences_are_judged_a_third_time() -> None:
    provenance = before()
    batches = boosted_sentences(
        provenance, filtered().to_batches(1), scores([0.9, 0.3, 0.9, 0.1, 0.9]).to_batches(),
        RATIO, RULES,
    )  # fmt: skip
    table = pa.Table.from_batches(list(batches), BOOSTED_SENTENCES)
    assert table["sentence_class"].to_pylist() == 2 * [
        "boosted", "shared", "teacher", "student", "unscored",
    ]  # fmt: skip
    assert table["p_distilled"].to_pylist() == pytest.approx(2 * [0.9, 0.3, 0.9, 0.1, 0.9])
    for name in BOOSTED_SENTENCES.names[:-2]:
        assert table[name].to_pylist() == provenance[name].to_pylist()


@pytest.mark.parametrize("change", ["other segmenter", "other answers"])
def test_sentences_that_were_cut_otherwise_are_an_error(change: str) -> None:
    provenance = before()
    if change == "other segmenter":
        names = pa.array(["another 1"] * provenance.num_rows)
        field = SENTENCE_PROVENANCE.field("segmenter")
        provenance = provenance.set_column(provenance.num_columns - 1, field, names)
    else:
        provenance = provenance.slice(5)
    with pytest.raises(ContractError, match="materialize it again"):
        list(
            boosted_sentences(
                provenance, filtered().to_batches(), scores([0.5] * 5).to_batches(), RATIO, RULES
            )
        )
