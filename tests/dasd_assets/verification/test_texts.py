"""Answers compared as texts, several accepted answers, and domains without a grader."""

from __future__ import annotations

from typing import Any

import pytest

from dasd_assets.profile.domains import (
    CodeTestsGrader,
    ExactGrader,
    MathGrader,
    MultipleChoiceGrader,
    NoGrader,
    RegexGrader,
)
from dasd_assets.verification import texts
from dasd_assets.verification.graders import PAPER_GRADERS, Graders

DOUBLE = {"function": "f", "tests": [[[0], 0], [[3], 6]]}
TRIPLE = {"function": "f", "tests": [[[0], 0], [[3], 9]]}
GRADERS = Graders(
    {
        "exact": ExactGrader(),
        "loose": ExactGrader(ignore_case=True),
        "city": RegexGrader(pattern=r"City:\s*(?P<answer>[^\n]*)"),
        "maybe": RegexGrader(pattern=r"A(?P<answer>\d+)?", ignore_case=True),
        "sums": MathGrader(),
        "choice": MultipleChoiceGrader(),
        "programs": CodeTestsGrader(),
        "chat": NoGrader(),
    }
)


@pytest.mark.parametrize(
    ("domain", "answer", "reference", "reason"),
    [
        ("exact", " Paris\n", "Paris", "correct"),
        ("exact", "paris", "Paris", "not_exact"),
        ("exact", "Paris.", "Paris", "not_exact"),
        ("exact", "42", 42, "correct"),
        ("loose", "STRASSE", "straße", "correct"),
        ("city", "City: Rome\nNo.\nCity: Paris ", "Paris", "correct"),
        ("city", "City: Paris\nNo.\nCity: Rome", "Paris", "other_text"),
        ("city", "Paris", "Paris", "pattern_not_found"),
        ("maybe", "A7 or A", 7, "pattern_not_found"),
        ("exact", "Rome", ["Paris", "Rome"], "correct"),
        ("exact", "Oslo", ["Paris", "Rome"], "not_exact"),
        ("sums", r"\boxed{-2}", ["2", "-2"], "correct"),
        ("choice", "The answer is C.", ["A", "C"], "correct"),
        ("choice", "The answer is B.", ["A", "C"], "wrong_option"),
        ("programs", "```python\ndef f(x):\n    return x * 3\n```", [DOUBLE, TRIPLE], "correct"),
    ],
)
def test_verdicts(domain: str, answer: str, reference: Any, reason: str) -> None:
    found = GRADERS.grade(domain, answer, reference)
    assert (found.is_correct, found.reason) == (reason == "correct", reason)
    if isinstance(reference, list) and not found.is_correct:
        assert "1 other accepted answers" in found.detail


def test_a_wrong_text_is_told_with_what_was_expected() -> None:
    assert GRADERS.grade("exact", "Rome", "Paris").detail == "found 'Rome', expected 'Paris'"


@pytest.mark.parametrize(
    ("domain", "reference", "message"),
    [
        ("exact", "", "must be a text or a number"),
        ("exact", True, "must be a text or a number"),
        ("city", {"city": "Paris"}, "must be a text or a number"),
        ("exact", [], "empty list"),
        ("exact", [["Paris"]], "list of lists"),
        ("exact", ["Paris", None], "must be a text or a number"),
        ("choice", ["A", "Paris"], "one letter"),
        ("chat", "Paris", "domains.chat has the grader none"),
        ("poetry", "x", "no grader for domain 'poetry'; known: exact, loose, city"),
    ],
)
def test_a_reference_that_no_answer_can_meet_is_found(
    domain: str, reference: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        GRADERS.check_reference(domain, reference)


def test_every_accepted_answer_has_to_be_usable_where_sets_are_read() -> None:
    PAPER_GRADERS.check_reference("math", ["1", r"\frac{1}{2}"])
    with pytest.raises(ValueError, match="reference"):
        PAPER_GRADERS.check_reference("math", ["1", r"\frac{"])


def test_a_pattern_that_never_ends_is_a_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "PATTERN_SECONDS", 0.05)
    slow = Graders({"slow": RegexGrader(pattern=r"(?P<answer>(a|aa)+)$")})
    assert slow.grade("slow", "a" * 60 + "b", "a").reason == "pattern_took_too_long"
