r"""Mathematical answers: the last `\boxed{...}` against the reference, by value."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final

from dasd_assets.verification.grade import Grade
from dasd_assets.verification.math_workers import compare_expressions

MAX_NUMBER_CHARACTERS: Final = 100
MAX_EXPRESSION_CHARACTERS: Final = 2_000

_BOXED: Final = re.compile(r"\\boxed\s*\{")
_BRACE: Final = re.compile(r"\\[{}\\]|[{}]")
_SPACE_IN_NUMBER: Final = re.compile(r"(?<=\d)(?:\s|\\[,;:! ]|\{,\})+(?=\d+(?![\d/]))")
r"""LaTeX sets `1 632`, `1\,632` and `1{,}632` as one number; math-verify would read 1 + 632."""


def grade_math(answer: str, reference: Any, seconds: float) -> Grade:
    """Compare the last boxed expression with the reference.

    Two numbers written plainly are compared here; anything else is read by math-verify in a
    process of its own.

    Raises:
        ValueError: the reference is no number or expression.
    """
    expected = _reference(reference)
    extracted = last_boxed(answer)
    if extracted is None:
        return Grade(False, "no_boxed_answer")
    detail = f"found {extracted[:60]!r}, expected {expected[:60]!r}"
    if not extracted:
        return Grade(False, "not_an_expression", extracted, detail)
    extracted = _SPACE_IN_NUMBER.sub("", extracted)
    found_number, expected_number = plain_number(extracted), plain_number(expected)
    if found_number is not None and expected_number is not None:
        if found_number == expected_number:
            return Grade(True, "correct", extracted)
        if found_number % 1 == 0 and expected_number % 1 == 0:
            return Grade(False, "wrong_number", extracted, detail)
    if len(extracted) > MAX_EXPRESSION_CHARACTERS:
        return Grade(False, "expression_too_long", extracted, detail)
    verdict = compare_expressions(expected, extracted, seconds)
    if verdict == "unusable_reference":
        raise ValueError(f"math reference must be a number or an expression, found {reference!r}")
    is_correct = verdict == "correct"
    return Grade(is_correct, verdict, extracted, "" if is_correct else detail)


def _reference(reference: Any) -> str:
    is_usable = isinstance(reference, (str, int, float)) and not isinstance(reference, bool)
    text = str(reference).strip().strip("$").strip() if is_usable else ""
    if not text or len(text) > MAX_EXPRESSION_CHARACTERS:
        raise ValueError(f"math reference must be a number or an expression, found {reference!r}")
    return _SPACE_IN_NUMBER.sub("", boxed if (boxed := last_boxed(text)) else text)


def last_boxed(text: str) -> str | None:
    r"""What stands in the last `\boxed{...}` whose braces are closed, stripped; None without one.

    Takes time in proportion to the text, however often it opens a brace.
    """
    for opened in reversed(list(_BOXED.finditer(text))):
        depth = 1
        # Braces of a later mark that was never closed lie behind; each is met once.
        for brace in _BRACE.finditer(text, opened.end()):
            depth += {"{": 1, "}": -1}.get(brace[0], 0)
            if not depth:
                return text[opened.end() : brace.start()].strip()
        text = text[: opened.start()]
    return None


def plain_number(text: str) -> Decimal | None:
    """A finite decimal number, thousands separated by commas or not; None for anything else."""
    plain = text.strip().strip("$").strip().rstrip(".")
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", plain):
        plain = plain.replace(",", "")
    if len(plain) > MAX_NUMBER_CHARACTERS or not re.fullmatch(r"[+-]?\d+(\.\d+)?", plain, re.ASCII):
        return None
    return Decimal(plain)
