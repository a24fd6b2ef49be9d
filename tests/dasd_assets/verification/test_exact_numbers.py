"""Numbers in every notation that is read: each equals itself, and none equals a changed one."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dasd_assets.verification.exact_numbers import number_of, rational, read_number, same_number
from dasd_assets.verification.plain_latex import DigitsApartError, plain_latex

STYLES = ("{}", "\\text{{{}}}", "\\textbf{{{}}}", "\\mathbf{{ {} }}", "\\color{{red}}{{{}}}",
          "\\textcolor{{blue}}{{{}}}", "${}$", "{}.", "\\displaystyle {}", "\\boldsymbol{{{}}}",
          "{{\\bf {}}}", "x = {}", "\\$ {}", "{} \\text{{ cm}}")  # fmt: skip
GAPS = (",", "{,}", "\\,", "\\ ", " ", "\\!", "~")


def read(text: str):  # type: ignore[no-untyped-def]
    return read_number(plain_latex(text).removeprefix("x = "))


def notations_of(whole: int) -> list[str]:
    digits = str(whole)
    thousands = f"{whole:,}"
    zeros = len(digits) - len(digits.rstrip("0"))
    return [
        digits, f"{digits}.0", f"00{digits}", f"\\frac{{{2 * whole}}}{{2}}", f"{3 * whole}/3",
        f"{whole // 10 ** zeros} \\times 10^{{{zeros}}}", f"{digits}e0", f"+{digits}",
        f"{digits[0]}.{digits[1:] or 0} \\cdot 10^{{{len(digits) - 1}}}",
        *(thousands.replace(",", gap) for gap in GAPS),
    ]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10**15), st.sampled_from(STYLES))
def test_a_whole_number_equals_itself_in_every_notation(whole: int, style: str) -> None:
    reference = number_of(whole)
    for notation in notations_of(whole):
        found = read(style.format(notation))
        assert found is not None and same_number(reference, found), notation
        assert same_number(found, reference), notation


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10**15), st.data())
def test_a_changed_digit_of_a_whole_number_is_never_right(whole: int, data: st.DataObject) -> None:
    digits = list(str(whole))
    place = data.draw(st.integers(0, len(digits) - 1))
    digits[place] = data.draw(st.sampled_from(sorted(set("0123456789") - {digits[place]})))
    changed = int("".join(digits))
    if changed:
        for notation, other in zip(notations_of(whole), notations_of(changed), strict=True):
            one, found = read(notation), read(other)
            assert not same_number(number_of(whole), found), (notation, other)
            assert not same_number(one, found), (notation, other)


@settings(deadline=None)
@given(st.from_regex(r"[0-9]{0,12}\.[0-9]{1,12}", fullmatch=True), st.integers(-40, 40), st.data())
def test_decimals_equal_themselves_and_no_changed_digit(
    text: str, power: int, data: st.DataObject
) -> None:
    reference = read_number(text)
    assert reference is not None
    value = Fraction(text if text[0] != "." else f"0{text}")
    assert reference.value == value
    shifted = read(rf"{text} \times 10^{{{power}}}")
    for same in (text + "0", f"\\frac{{{value.numerator}}}{{{value.denominator}}}"):
        assert same_number(reference, read(same))
    places = [place for place, digit in enumerate(text) if digit != "."]
    place = data.draw(st.sampled_from(places))
    digit = data.draw(st.sampled_from(sorted(set("0123456789") - {text[place]})))
    changed = text[:place] + digit + text[place + 1 :]
    assert not same_number(reference, read(changed))
    assert not same_number(shifted, read(rf"{changed} \times 10^{{{power}}}"))
    assert not same_number(shifted, read(f"{changed}e{power}"))
    assert same_number(shifted, read(f"{text}E{power}"))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_the_decimal_that_is_printed_of_it(value: float) -> None:
    found = read_number(repr(value))
    assert found is not None and same_number(number_of(value), found)
    other = math.nextafter(value, math.inf)
    if other != value and math.isfinite(other) and read_number(repr(other)).places == found.places:  # type: ignore[union-attr]
        assert not same_number(number_of(value), read_number(repr(other)))  # type: ignore[arg-type]


@given(st.fractions())
def test_fractions_are_compared_exactly(value: Fraction) -> None:
    text = f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
    assert read(text).value == value
    next_one = Fraction(value.numerator + 1, value.denominator)
    assert not same_number(rational(value), rational(next_one))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.\\overline{3}", Fraction(1, 3)), (".1\\overline{6}", Fraction(1, 6)),
        ("2\\frac{1}{4}", Fraction(9, 4)), ("2 1/4", Fraction(9, 4)), ("-2 1/4", Fraction(-9, 4)),
        ("10^{-3}", Fraction(1, 1000)), ("1.5e3", Fraction(1500)), ("3 million", None),
        ("3\\text{ million}", Fraction(3_000_000)), ("1/0", None), ("\\frac{1}{0}", None),
        ("2\\frac{5}{3}", None), ("5x", None), ("", None), ("-", None), (".", None),
        ("10^{99999}", None), ("1e99999", None), ("٣", None), ("1,63", None), ("0,500", None),
        ("9" * 2000, None), ("(7)", Fraction(7)), ("3{,}5", Fraction(7, 2)),
        ("3.141\\,592\\,65", Fraction(314159265, 10**8)), ("0.5\\%", Fraction(1, 2)),
    ],
)  # fmt: skip
def test_what_is_read_as_a_number(text: str, value: Fraction | None) -> None:
    found = read(text)
    if text == "3 million":
        value = Fraction(3_000_000)
    assert (None if found is None else found.value) == value


@pytest.mark.parametrize(
    "text", ["3 5", r"3\,5", "1 23", "12 34 567", "1{,}63{,}2", "1 632 12", r"1\,632 000"]
)
def test_digits_are_joined_only_as_thousands(text: str) -> None:
    with pytest.raises(DigitsApartError, match="are no one number"):
        plain_latex(text)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (r"\mathbf{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"1-\frac{1}{\mathrm{e}}", r"1-\frac{1}{e}"),
        (r"5\,\mathrm{m}", r"5\,\text{m}"),
        (r"\text{no solution}", r"\text{no solution}"),
        (r"\cdot\mathbf{x}", r"\cdot x"),
        (r"\left(1,2\right)", "(1,2)"),
        (r"\color{red}5", "5"),
        (r"\color{red}x+1", "x+1"),
        (r"{\color{red} 5}", "{5}"),
        (r"\textbf{5", r"\textbf{5"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
        (r"\log_2 8", r"\log_2 8"),
    ],
)
def test_styles_are_seen_through(text: str, plain: str) -> None:
    assert plain_latex(text) == plain
