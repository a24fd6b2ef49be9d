"""Multiple choice: the letter that an answer settles on."""

from __future__ import annotations

import re
from typing import Any, Final

from dasd_assets.verification.grade import Grade
from dasd_assets.verification.math_answers import last_boxed

_BOXED_LETTER: Final = re.compile(r"(?:\\text(?:bf)?\s*\{)?\W*([A-Z])\W*", re.IGNORECASE)
_STATED_LETTER: Final = re.compile(
    r"\b(?:answer|option|choice)\b(?:\s+is)?[\s:*_(\[$]{0,9}(?!I\s+[a-z])([A-Z])\b", re.IGNORECASE
)
_LONE_LETTER: Final = re.compile(r"\W*([A-Z])\W*")


def grade_option(answer: str, reference: Any) -> Grade:
    """Compare the last letter that is boxed, or else stated as the answer.

    Raises:
        ValueError: the reference is no letter.
    """
    expected = str(reference).strip().upper()
    if not re.fullmatch(r"[A-Z]", expected):
        raise ValueError(f"science reference must be one letter, found {reference!r}")
    extracted = _letter(answer)
    if extracted is None:
        return Grade(False, "no_option_stated")
    is_correct = extracted == expected
    detail = "" if is_correct else f"found {extracted}, expected {expected}"
    return Grade(is_correct, "correct" if is_correct else "wrong_option", extracted, detail)


def _letter(answer: str) -> str | None:
    boxed = last_boxed(answer)
    if boxed is not None and (only := _BOXED_LETTER.fullmatch(boxed)):
        return only[1].upper()
    if stated := _STATED_LETTER.findall(answer):
        return str(stated[-1]).upper()
    lone = _LONE_LETTER.fullmatch(answer)
    return lone[1] if lone else None
