"""Answers compared as texts: the whole of them, or what a pattern finds."""

from __future__ import annotations

from typing import Any, Final

import regex

from dasd_assets.verification.grade import Grade

PATTERN_SECONDS: Final = 5.0
"""Longest search of a pattern in one text: some patterns take for ever in some texts."""


def grade_exact(answer: str, reference: Any, ignore_case: bool) -> Grade:
    """Compare the whole answer, white space at its ends aside.

    Raises:
        ValueError: the reference is neither a text nor a number, or empty.
    """
    return _compared(answer.strip(), reference, ignore_case, "not_exact")


def grade_pattern(answer: str, reference: Any, pattern: str, ignore_case: bool) -> Grade:
    """Compare what the group `answer` has where the pattern is found last.

    Raises:
        ValueError: the reference is neither a text nor a number, or empty.
    """
    _expected(reference)
    try:
        found = last_match(pattern, answer)
    except TimeoutError:
        return Grade(False, "pattern_took_too_long", None, f"over {PATTERN_SECONDS:g} s")
    text = found["answer"] if found else None
    if text is None:
        return Grade(False, "pattern_not_found")
    return _compared(text.strip(), reference, ignore_case, "other_text")


def last_match(pattern: str, text: str) -> regex.Match[str] | None:
    """The last place where a pattern is found.

    Raises:
        TimeoutError: it took longer than PATTERN_SECONDS.
    """
    last = None
    for found in regex.finditer(pattern, text, timeout=PATTERN_SECONDS):
        last = found
    return last


def _compared(found: str, reference: Any, ignore_case: bool, wrong: str) -> Grade:
    expected = _expected(reference)
    alike = found.casefold() == expected.casefold() if ignore_case else found == expected
    if alike:
        return Grade(True, "correct", found)
    return Grade(False, wrong, found, f"found {found[:60]!r}, expected {expected[:60]!r}")


def _expected(reference: Any) -> str:
    is_usable = isinstance(reference, str | int | float) and not isinstance(reference, bool)
    text = str(reference).strip() if is_usable else ""
    if not text:
        raise ValueError(f"the reference must be a text or a number, found {reference!r}")
    return text
