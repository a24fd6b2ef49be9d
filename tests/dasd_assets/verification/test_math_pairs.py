"""Our verdicts on pairs of reference and answer, beside those of the library alone.

In `math_pairs.tsv`, `truth` is what a person says, `verdict` what we say, `library` what
math-verify says by itself, and `why` the reason where one of them differs from another.
"""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from math_verify import parse, verify

from dasd_assets.verification.math_answers import grade_math

pytestmark = pytest.mark.slow

PAIRS = Path(__file__).with_name("math_pairs.tsv")
NOT_COMPARABLE = {"no_boxed_answer", "not_an_expression", "not_comparable"}


def pairs() -> list[dict[str, str]]:
    with PAIRS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def verdict(reference: str, answer: str) -> str:
    result = grade_math(rf"So it is \boxed{{{answer}}}.", reference, seconds=60)
    if result.is_correct:
        return "right"
    return "not_comparable" if result.reason in NOT_COMPARABLE else "wrong"


def of_the_library(reference: str, answer: str) -> str:
    gold, found = (
        parse(rf"\boxed{{{text}}}", parsing_timeout=None) for text in (reference, answer)
    )
    if not gold or not found:
        return "not_comparable"
    return "right" if verify(gold, found, timeout_seconds=None) else "wrong"


def test_the_table_says_what_we_say_and_why_the_library_does_not() -> None:
    rows = pairs()
    assert len(rows) >= 200
    for row in rows:
        reference, answer = row["reference"], row["answer"]
        ours, library = verdict(reference, answer), of_the_library(reference, answer)
        assert (ours, library) == (row["verdict"], row["library"]), (reference, answer)
        differs = len({row["truth"], ours, library}) > 1
        assert bool(row["why"]) is differs, (reference, answer)


def test_what_a_person_calls_wrong_is_never_right() -> None:
    mistakes = Counter((row["truth"], row["verdict"]) for row in pairs())
    assert not {pair for pair in mistakes if pair[1] == "right" and pair[0] != "right"}
    assert mistakes["right", "wrong"] + mistakes["right", "not_comparable"] <= 1


@pytest.mark.parametrize(
    ("reference", "answer", "reason"),
    [
        (0.00001, "0.00001", "correct"),
        (0.00001, r"10^{-5}", "correct"),
        (0.00001, "0.00002", "not_equal"),
        (1e-7, "0.0000001", "correct"),
        (6.63e-34, r"6.63 \times 10^{-34}", "correct"),
        (7.0, "7", "correct"),
        (35.0, "35", "correct"),
        (1e22, "10^{22}", "correct"),
        (0.1 + 0.2, "0.3", "correct"),
        (2**70, str(2**70), "correct"),
        (2**70, str(2**70 + 1), "wrong_number"),
        (12345678901234567, "12345678901234568", "wrong_number"),
    ],
)
def test_numbers_of_json_and_parquet_are_the_numbers_they_are(
    reference: float, answer: str, reason: str
) -> None:
    assert grade_math(rf"\boxed{{{answer}}}", reference, seconds=60).reason == reason


@pytest.mark.parametrize("reference", [float("nan"), float("inf"), "1 23", r"3\,5"])
def test_what_is_no_number_is_no_reference(reference: object) -> None:
    with pytest.raises(ValueError, match="math reference must be a number or an expression"):
        grade_math(r"\boxed{1}", reference, seconds=60)
