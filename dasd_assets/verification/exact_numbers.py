r"""Numbers as answers write them, read exactly and compared without rounding.

Read are integers (thousands set apart or not), decimals, repeating decimals, fractions, mixed
numbers, powers of ten, percentages, sums of money, and a number with its unit. Nothing is ever
brought to a float: `6.63 \times 10^{-34}` is a rational with 36 decimal places.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Final

MAX_DIGITS: Final = 1_000
"""Of a number, and size of a power of ten; what is longer is left to the other reader."""

RELATIVE_TOLERANCE: Final = Fraction(1, 10**6)
"""Of a reference that is a decimal, and perhaps rounded."""

_DECIMAL: Final = re.compile(
    r"""(?P<whole>[1-9]\d{0,2}(?:,\d{3})+|\d+)?
    (?: \.(?P<places>\d*) (?: \\(?:overline|bar|dot)\s*\{?(?P<again>\d+)\}? )? )?
    (?: [eE](?P<e>[+-]?\d+) )?""",
    re.VERBOSE | re.ASCII,
)
_POWER: Final = re.compile(
    r"(?:(?P<front>.+?)\s*(?:\\times|\\cdot|[*×·x])\s*)?10\s*(?:\^|\*\*)\s*"
    r"(?:\{\s*(?P<braced>[+-]?\d+)\s*\}|(?P<bare>[+-]?\d+))",
    re.ASCII,
)
_FRACTION: Final = re.compile(
    r"(?:(?P<front>\d+)\s*)?\\frac\s*(?:\{(?P<over>[^{}]+)\}|(?P<one>\d))"
    r"\s*(?:\{(?P<under>[^{}]+)\}|(?P<two>\d))",
    re.ASCII,
)
_SLASHED: Final = re.compile(r"(?:(?P<front>\d+)\s+)?(?P<over>[^/\s]+)\s*/\s*(?P<under>[^/\s]+)")
_PERCENT: Final = re.compile(r"\s*(?:\\?%|\\text\{\s*percent\s*\}|\bpercent)$")
_MONEY: Final = re.compile(r"^([+-]?)\s*(?:\\\$|\\pounds|[$€£¥])\s*")
_UNIT: Final = re.compile(
    r"(?:\\[,;:! ]|[~\s])*(?P<unit>(?:\\text\{[^{}]*\}(?:\^\{?-?\d\}?)?(?:\\[,;:! ]|[~\s/])*)+"
    r"|\^\{?\s*\\circ\s*\}?(?:\\text\{[CFK]\}|[CFK])?|°[CFK]?|\\degree"
    r"|(?<=\s)[A-Za-z]{3,}[A-Za-z ]*)$"
)
_SCALES: Final = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "dozen": 12,
}  # fmt: skip
_UNIT_NAMES: Final = {
    "meter": "m", "metre": "m", "centimeter": "cm", "centimetre": "cm", "millimeter": "mm",
    "millimetre": "mm", "kilometer": "km", "kilometre": "km", "inch": "in", "inche": "in",
    "foot": "ft", "feet": "ft", "mile": "mi", "second": "s", "sec": "s", "minute": "min",
    "hour": "h", "hr": "h", "gram": "g", "kilogram": "kg", "liter": "L", "litre": "L", "l": "L",
    "degree": "°", "^{\\circ}": "°", "^\\circ": "°", "\\degree": "°", "dollar": "$", "pound": "lb",
}  # fmt: skip


@dataclass(frozen=True)
class Number:
    """A number as it was written.

    Attributes:
        value: exactly.
        places: decimal places as written (of `1.5e3` they are -2); None if no decimal is exact.
        is_decimal: a point was written, so that it may be rounded.
        is_percent: a percent sign was written; the value is what stands before it.
        unit: what was written behind it; empty if nothing was.
    """

    value: Fraction
    places: int | None
    is_decimal: bool = False
    is_percent: bool = False
    unit: str = ""


def same_number(reference: Number, answer: Number) -> bool:
    """Whether an answer is the number of the reference.

    Exact, unless the reference is a decimal: then what lies within RELATIVE_TOLERANCE of it is
    right as well if it is written more or less exactly: rounded to the places of the coarser one
    the two must be the same, so that a changed digit is never right. `50%` is 50 and 0.5.
    """
    if reference.is_percent != answer.is_percent:
        one, other = (replace(each, is_percent=False) for each in (reference, answer))
        if same_number(one, other):
            return True
        if reference.is_percent:
            return same_number(_hundredth(one), other)
        return same_number(one, _hundredth(other))
    if reference.value == answer.value:
        return True
    if not reference.is_decimal or abs(reference.value - answer.value) > RELATIVE_TOLERANCE * abs(
        reference.value
    ):
        return False
    if reference.places is None or answer.places is None:
        return True
    coarser = min(reference.places, answer.places)
    return reference.places != answer.places and round(reference.value, coarser) == round(
        answer.value, coarser
    )


def same_unit(reference: Number, answer: Number) -> bool:
    """Whether the units are the same, or one of the two has none."""
    return not reference.unit or not answer.unit or reference.unit == answer.unit


def number_of(value: float) -> Number:
    """A number that came as one, not as text: the shortest decimal that is this float."""
    if isinstance(value, int):
        return Number(Fraction(value), 0)
    decimal = Decimal(repr(value))
    return Number(Fraction(decimal), -int(decimal.as_tuple().exponent), is_decimal=True)


def rational(value: Fraction) -> Number:
    """A rational with the places of its decimal, if that ends."""
    rest, places = value.denominator, 0
    for prime in (2, 5):
        n = 0
        while rest % prime == 0:
            rest, n = rest // prime, n + 1
        places = max(places, n)
    return Number(value, places if rest == 1 else None)


def read_number(text: str) -> Number | None:
    """The number that a text is, all of it; None for anything else."""
    text = _unbraced(text.strip())
    if len(text) > MAX_DIGITS:
        return None
    text, n_percent = _PERCENT.subn("", text)
    text = _MONEY.sub(r"\1", text)
    if n_percent:
        found = _signed(text)
        return found and replace(found, is_percent=True)
    if (found := _signed(text)) is not None:
        return found
    measured = _UNIT.search(text)
    if measured is None or (found := _signed(text[: measured.start()])) is None:
        return None
    unit = re.sub(r"\\text\{([^{}]*)\}|[\s~]|\\[,;:! ]", r" \1", measured["unit"]).strip()
    words = [word for word in unit.split() if word != "of"]
    scale = 1
    while words and words[0].lower() in _SCALES:
        scale *= _SCALES[words.pop(0).lower()]
    value = rational(found.value * scale)
    return Number(value.value, value.places, found.is_decimal, unit=_unit_name(words))


def _hundredth(number: Number) -> Number:
    places = None if number.places is None else number.places + 2
    return replace(number, value=number.value / 100, places=places)


def _unit_name(words: list[str]) -> str:
    short = [word.rstrip(".,") for word in words]
    names = [_UNIT_NAMES.get(word.lower().removesuffix("s"), word) for word in short]
    return " ".join(name if len(name) < 4 else name.lower().removesuffix("s") for name in names)


def _unbraced(text: str) -> str:
    """The text without braces or parentheses around all of it; a pair stays a pair."""
    while len(text) > 1 and text[0] + text[-1] in ("{}", "()"):
        inner = text[1:-1]
        depth, lowest = 0, 0
        for character in inner:
            depth += (character == text[0]) - (character == text[-1])
            lowest = min(lowest, depth)
        if lowest < 0 or (text[0] == "(" and "," in inner):
            break
        text = inner.strip()
    return text


def _signed(text: str) -> Number | None:
    text = _unbraced(text.strip().removesuffix("."))
    sign = -1 if text.startswith("-") else 1
    found = _unsigned(text[text[:1] in ("+", "-") :].lstrip())
    return found and replace(found, value=sign * found.value)


def _unsigned(text: str) -> Number | None:
    if (found := _decimal(text)) is not None:
        return found
    if (power := _POWER.fullmatch(text)) is not None:
        exponent = int(power["braced"] or power["bare"])
        front = Number(Fraction(1), 0) if power["front"] is None else _signed(power["front"])
        if front is None or abs(exponent) > MAX_DIGITS:
            return None
        places = None if front.places is None else front.places - exponent
        return replace(front, value=front.value * Fraction(10) ** exponent, places=places)
    for pattern in (_FRACTION, _SLASHED):
        if (match := pattern.fullmatch(text)) is not None:
            return _fraction(match.groupdict())
    return None


def _fraction(parts: dict[str, str | None]) -> Number | None:
    over = _signed(parts["over"] or parts.get("one") or "")
    under = _signed(parts["under"] or parts.get("two") or "")
    if over is None or under is None or not under.value:
        return None
    value = over.value / under.value
    if parts["front"] is not None:
        # A mixed number; 2 and 5/3, or 2 and -1/3, would be a product.
        if not 0 < value < 1:
            return None
        value += int(parts["front"])
    return replace(rational(value), is_decimal=over.is_decimal or under.is_decimal)


def _decimal(text: str) -> Number | None:
    match = _DECIMAL.fullmatch(text)
    if match is None or not (match["whole"] or match["places"] or match["again"]):
        return None
    exponent = int(match["e"] or 0)
    if abs(exponent) > MAX_DIGITS:
        return None
    places, again = match["places"] or "", match["again"]
    value = Fraction(int((match["whole"] or "0").replace(",", "") + places), 10 ** len(places))
    if again:
        value += Fraction(int(again), (10 ** len(again) - 1) * 10 ** len(places))
        return rational(value * Fraction(10) ** exponent)
    return Number(value * Fraction(10) ** exponent, len(places) - exponent, bool(places))
