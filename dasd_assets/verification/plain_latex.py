r"""LaTeX as it is read aloud: styles, colours and thin spaces make no other answer."""

from __future__ import annotations

import re
from typing import Final

_ROMAN: Final = "text|textrm|textnormal|mathrm|mbox|hbox|operatorname|mathup"
_STYLES: Final = (
    "textbf|textit|textsf|texttt|textsl|textup|emph|underline|mathbf|mathit|mathsf|mathtt|"
    "mathnormal|boldsymbol|bm|pmb|ensuremath|fbox|boxed"
)
_COLOURS: Final = "color|textcolor|colorbox"
_STYLED: Final = re.compile(
    rf"\\(?:(?:(?P<roman>{_ROMAN})|(?:{_STYLES}))(?![A-Za-z])"
    rf"|(?:{_COLOURS})(?:\[\w+\])?\s*\{{[\w!.,\-]*\}})\s*(?P<brace>\{{)?"
)
_SWITCH: Final = re.compile(
    r"\\(?:displaystyle|textstyle|scriptstyle|limits|left|right|[bB]igg?[lrm]?|bf|rm|it|sf|tt|"
    r"bfseries|itshape|tiny|small|normalsize|large|Large|LARGE|huge|Huge|mathstrut|strut|"
    r"rlap|llap|smash)(?![A-Za-z])\s*"
)
_NO_DELIMITER: Final = re.compile(r"(\\(?:left|right))\s*\.")
_SHORT_FRACTION: Final = re.compile(r"\\([dtc]?frac|[dt]?binom)\s*(\d)\s*(\d)")
_FRACTION: Final = re.compile(r"\\[dtc]frac(?![A-Za-z])")
_OF_LETTERS: Final = {"e", "i", "π"}
"""What is set upright and is no unit."""

_GAP: Final = r"(?:\{,\}|\\[,;:! ]|\\(?:thin|med|thick)space|[~\s])"
_DIGITS_APART: Final = re.compile(rf"(?<![\d_^])\d+(?:{_GAP}+\d+)+", re.ASCII)
_THOUSANDS: Final = re.compile(
    rf"[1-9]\d{{0,2}}(?P<gap>{_GAP}+)\d{{3}}(?:(?P=gap)\d{{3}})*", re.ASCII
)
_PLACES: Final = re.compile(rf"\d{{3}}(?P<gap>{_GAP}+)(?:\d{{3}}(?P=gap))*\d{{1,3}}", re.ASCII)
_DECIMAL_COMMA: Final = re.compile(r"(\d+)\{,\}(\d+)", re.ASCII)


class DigitsApartError(ValueError):
    """Digits stand side by side that are no one number: `1 23`."""


def plain_latex(text: str) -> str:
    r"""The text without styles, colours and sizes, each number in one piece.

    Words stay, as `\text{...}`. Digits are joined only where they are groups of three: `1\,632`
    is 1632; `3{,}5` has a decimal comma.

    Raises:
        DigitsApartError: digits stand apart in some other way.
    """
    text = text.strip().strip("$").strip().replace("−", "-").replace("–", "-")
    text = _unstyled(text.replace("\\$", "$"))
    text = _FRACTION.sub(r"\\frac", _SHORT_FRACTION.sub(r"\\\1{\2}{\3}", text))
    text = _SWITCH.sub("", _NO_DELIMITER.sub(r"\1", text))
    return _DIGITS_APART.sub(lambda found: _one_number(found, text), text).strip()


def closing_brace(text: str, start: int) -> int:
    """Where the brace closes that was opened before `start`; -1 if it does not."""
    depth = 1
    for brace in re.finditer(r"\\[{}\\]|[{}]", text[start:]):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if not depth:
            return start + brace.start()
    return -1


def _unstyled(text: str) -> str:
    out: list[str] = []
    place = 0
    for match in _STYLED.finditer(text):
        if match.start() < place:
            continue
        end = closing_brace(text, match.end()) if match["brace"] else match.end()
        if end < 0:
            continue
        inner = _unstyled(text[match.end() : end]) if match["brace"] else ""
        out.append(text[place : match.start()])
        place = end + bool(match["brace"])
        if _is_words(inner, is_roman=match["roman"] is not None):
            inner = rf"\text{{{inner}}}"
        elif inner[:1].isalpha() and re.search(r"\\[A-Za-z]+$", "".join(out)):
            inner = f" {inner}"
        out.append(inner)
    return "".join([*out, text[place:]])


def _is_words(inner: str, *, is_roman: bool) -> bool:
    letters = re.sub(r"\\[A-Za-z]+|[^A-Za-z]", "", inner)
    if "\\text{" in inner or not letters:
        return False
    if is_roman and not re.search(r"\\|\d", inner):
        return letters not in _OF_LETTERS
    return re.search(r"(?<![A-Za-z\\])[A-Za-z]{2,}", inner) is not None


def _one_number(found: re.Match[str], text: str) -> str:
    digits = found[0]
    joined = re.sub(r"\D|\\[a-z]+", "", digits)
    if text[: found.start()].endswith("."):
        if _PLACES.fullmatch(digits):
            return joined
    elif _is_before_slash(text, found.end()):
        return digits  # 1 1/2
    elif _THOUSANDS.fullmatch(digits):
        return joined
    elif comma := _DECIMAL_COMMA.fullmatch(digits):
        return f"{comma[1]}.{comma[2]}"
    raise DigitsApartError(f"the digits {digits!r} are no one number")


def _is_before_slash(text: str, end: int) -> bool:
    return text[end:].lstrip().startswith("/")
