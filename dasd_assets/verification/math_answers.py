r"""Mathematical answers: the last `\boxed{...}` against the reference, by value."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from dasd_assets.verification.exact_numbers import (
    Number,
    number_of,
    read_number,
    same_number,
    same_unit,
)
from dasd_assets.verification.grade import Grade
from dasd_assets.verification.math_workers import compare_expressions
from dasd_assets.verification.plain_latex import DigitsApartError, plain_latex

MAX_EXPRESSION_CHARACTERS: Final = 2_000

_BOXED: Final = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACE: Final = re.compile(r"\\[{}\\]|[{}]")
_NAMED: Final = re.compile(
    r"(?P<name>(?:\\?[A-Za-z]+(?:_\{?\w+\}?)?(?:\([^()=]*\))?)?)\s*(?:=|\\approx)\s*(?P<value>[^=<>]+)"
)
_TEXT: Final = re.compile(r"\\text\{(?P<words>[^{}]*)\}")


def grade_math(answer: str, reference: Any, seconds: float) -> Grade:
    """Compare the last boxed expression with the reference.

    Two numbers are compared here, and exactly (`exact_numbers`), as are two texts; anything else
    is read by math-verify in a process of its own.

    Raises:
        ValueError: the reference is no number or expression.
    """
    expected, expected_number = _reference(reference)
    boxed = last_boxed(answer)
    if boxed is None:
        return Grade(False, "no_boxed_answer")
    detail = f"found {boxed[:60]!r}, expected {expected[:60]!r}"
    if len(boxed) > MAX_EXPRESSION_CHARACTERS:
        return Grade(False, "expression_too_long", boxed, detail)
    try:
        found = plain_latex(boxed)
    except DigitsApartError:
        found = ""
    if not found:
        return Grade(False, "not_an_expression", boxed, detail)
    if (found_number := _number(found, expected)) is not None and expected_number is not None:
        reason = _compared(expected_number, found_number)
    elif (is_same := _same_words(expected, found)) is not None:
        reason = "correct" if is_same else "not_equal"
    else:
        reason = compare_expressions(expected, found, seconds)
    if reason == "unusable_reference":
        raise ValueError(f"math reference must be a number or an expression, found {reference!r}")
    is_correct = reason == "correct"
    return Grade(is_correct, reason, boxed, "" if is_correct else detail)


def _compared(expected: Number, found: Number) -> str:
    if not same_number(expected, found):
        is_whole = expected.value.denominator == found.value.denominator == 1
        return "wrong_number" if is_whole else "not_equal"
    return "correct" if same_unit(expected, found) else "other_unit"


def _reference(reference: Any) -> tuple[str, Number | None]:
    """The reference's text, and its number if it is one."""
    problem = f"math reference must be a number or an expression, found {reference!r}"
    if isinstance(reference, (int, float)) and not isinstance(reference, bool):
        if not math.isfinite(reference):
            raise ValueError(problem)
        return str(reference), number_of(reference)
    text = reference.strip() if isinstance(reference, str) else ""
    if not text or len(text) > MAX_EXPRESSION_CHARACTERS:
        raise ValueError(problem)
    try:
        text = plain_latex(boxed if (boxed := last_boxed(text)) else text)
    except DigitsApartError as error:
        raise ValueError(f"{problem}: {error}") from None
    if not text:
        raise ValueError(problem)
    return text, _number(text, "")


def _number(text: str, other: str) -> Number | None:
    """The number of a text, also of `x = 5` unless the other text names something else."""
    if (number := read_number(text)) is not None:
        return number
    named, other_named = _NAMED.fullmatch(text), _NAMED.fullmatch(other)
    if named is None or (other_named is not None and other_named["name"] != named["name"]):
        return None
    return read_number(named["value"])


def _same_words(expected: str, found: str) -> bool | None:
    r"""Whether two texts have the same words; None if the reference is more than `\text{...}`."""
    if (words := _TEXT.fullmatch(expected)) is None:
        return None
    return _folded(words["words"]) == _folded(_TEXT.sub(r"\g<words>", found))


def _folded(words: str) -> str:
    return " ".join(re.sub(r"[\\(){}.,;:!\s~\-]+", " ", words).casefold().split())


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
