"""Multiple choice: the letter that an answer settles on."""

from __future__ import annotations

import re
from typing import Any, Final

from dasd_assets.verification.grade import Grade
from dasd_assets.verification.math_answers import last_boxed

_STYLE: Final = re.compile(r"\\(?:(?:text|math)[a-z]*|boldsymbol|bm|mbox)\s*\{(?P<inner>[^{}]*)\}")
_SPACE: Final = re.compile(r"\\quad|\\[,;:! ]|~")
_MARKUP: Final = re.compile(r"[*_$`{}]|\\(?:left|right|[()\[\]])")

_BEFORE: Final = r"[\s:=\"'(\[]{0,9}"
_LETTER: Final = r"""
    (?: (?P<{0}_upper>[B-HJ-Z])\b(?!['’])
      | (?P<{0}_word>[AI])\b(?!['’])(?! \s+ (?!(?:{1})\b) [a-z])     # "A", not "A rock"
      | (?P<{0}_lower>[a-z])\b(?= \s*(?:[.,;:)\]\"'!] | \n | \Z) )
    )"""
_FOLLOWS: Final = "because|since|as|is|was|and|or|but|not|which|by|for|due|with|from|in|here|only"
_CHOICE: Final = r"(?:answer|option|choice)"


def _letter_of(name: str) -> str:
    return _LETTER.format(name, _FOLLOWS)


_STATED: Final = re.compile(
    rf"""
    \b(?i:{_CHOICE})s?\b (?:\s+(?i:to\ [\w\s]{{1,40}}?|here))?
    \s* (?: (?i:is|would\ be|must\ be|should\ be|will\ be|was|becomes) \b | [:=] )
    (?: \s* (?i:clearly|therefore|thus|indeed|again|simply|definitely) \b ,? )?
    (?: \s* (?:(?i:the)\s+)? (?i:option|choice|letter|answer) \b )?
    {_BEFORE} {_letter_of("stated")}
  | (?: \A | (?<=[\s(\[\"']) ) {_letter_of("called")} [)\]\"'.]? \s+
    (?i:is|must\ be) \s+ (?:(?i:the)\s+)? (?:(?i:only|most|single)\s+)?
    (?i:correct|right|best|answer)
  | \b(?i:choose|select|pick|go\ with) \s+ (?:(?i:option|choice|answer)\s+)? {_BEFORE}
    {_letter_of("chosen")}
    """,
    re.VERBOSE,
)
_NAMED: Final = re.compile(rf"\b(?i:{_CHOICE})\b {_BEFORE} {_letter_of('named')}", re.VERBOSE)
_ALONE: Final = re.compile(
    r"\W*(?:(?:answer|option|choice)\b\W*)?([A-Z])(?:\W*|\s*[).:]\s*\S.*|\s+[-–—]\s*\S.*)",
    re.DOTALL | re.IGNORECASE,
)


def grade_option(answer: str, reference: Any) -> Grade:
    """Compare the last letter that is boxed, or else stated as the answer, or else named.

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
    if boxed is not None and (only := _ALONE.fullmatch(_plain(boxed))):
        return only[1].upper()
    text = _plain(answer)
    for pattern in (_STATED, _NAMED):
        found = [next(filter(None, match.groups())) for match in pattern.finditer(text)]
        if found:
            return found[-1].upper()
    lines = [line for line in text.splitlines() if line.strip()]
    alone = _ALONE.fullmatch(lines[-1]) if lines else None
    return alone[1].upper() if alone else None


def _plain(text: str) -> str:
    """The text without Markdown's and LaTeX's styles."""
    n_styles = 1
    while n_styles:
        text, n_styles = _STYLE.subn(r"\g<inner>", text)
    return _MARKUP.sub("", _SPACE.sub(" ", text))
