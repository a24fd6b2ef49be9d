"""Normalisation: one form per question, and nothing that changes its meaning."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dasd_assets.questions.curation.near_duplicates import comparables
from dasd_assets.questions.curation.normalisation import (
    normalise,
    question_id,
    told_apart,
    words_and_symbols,
)


@pytest.mark.parametrize(
    ("delivered", "asked"),
    [
        ("  What?\n", "What?"),
        ("e\u0301", "\u00e9"),
        ("e\u200b\u0301", "\u00e9"),  # removed first, then composed
        ("a\r\nb\rc\u2028d\x85e\x0cf", "a\nb\nc\nd\ne\nf"),
        ("tab\tstays", "tab\tstays"),
        ("nul\x00 bell\x07 esc\x1b", "nul bell esc"),
        ("\ufeffsoft\u00adhy\u2060phen\u200e", "softhyphen"),
        ("\u202eevil\u202c", "evil"),
        ("\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", None),  # Persian needs joiners
        ("x\u00b2 + \u00bd in \u211d", None),  # NFKC would write x2, 1/2 and R
        ("\u0600\u0661", None),  # a sign of category Cf that is seen
        ("\u200b \ufeff", ""),
    ],
)
def test_what_is_seen_stays_and_what_is_not_goes(delivered: str, asked: str | None) -> None:
    assert normalise(delivered) == (delivered if asked is None else asked)


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\u200b\r\x85\u0301 e\u00ad"))))
def test_a_normalised_question_is_nfc_and_stays_as_it_is(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once == once.strip()
    assert unicodedata.is_normalized("NFC", once)


def test_invisible_characters_and_joiners_make_no_other_question() -> None:
    ids = {question_id("math", text) for text in ("ab c", "a\u200bb c", "a\u200db\u00a0c", "AB\tc")}
    assert len(ids) == 1


def test_the_id_of_a_question_is_the_same_in_every_version() -> None:
    assert question_id("math", "What is 1 + 1?") == "q-1a7f364bf05c5c90"


FENCED = "What is printed?\n```python\nfor i in a:\n    b(i)\n{}c(i)\n```"
BARE = "Complete it.\n\ndef f(a):\n    for i in a:\n        b(i)\n{}return i"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (FENCED.format("    "), FENCED.format("")),
        (FENCED.format("    ").replace("```", "~~~"), FENCED.format("").replace("```", "~~~")),
        (FENCED.format(""), FENCED.format("").replace("c(i)", "C(i)")),
        (BARE.format("        "), BARE.format("    ")),
        ("A plant of 5 mW runs.", "A plant of 5 MW runs."),
        ("A plant of $5\\,\\mathrm{mW}$ runs.", "A plant of $5\\,\\mathrm{MW}$ runs."),
        ("Give the power in mW.", "Give the power in MW."),
        ("It takes 3 s.", "It takes 3 S."),
        ("A file of 8 Mb", "A file of 8 MB"),
        ("It is 2 pA", "It is 2 Pa"),
        ("7 g of salt", "7 G of salt"),
    ],
)
def test_indentation_of_code_and_case_of_units_make_another_question(one: str, other: str) -> None:
    assert question_id("math", one) != question_id("math", other)
    if told_apart(one):
        alike = comparables([one, other], ["math", "math"], 5)
        assert alike[0].formal != alike[1].formal


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("  What is\n  the sum?", "what is the SUM?"),
        (FENCED.format("    "), FENCED.format("    ").replace("What is", "what  is")),
        (FENCED.format("    "), FENCED.format("    ").replace("a:", "a:  ")),
        ("A cat in 3 Hours", "a cat in 3 hours"),
        ("The TV is on at 5 pm", "the tv is on at 5 PM"),
    ],
)
def test_case_and_white_space_make_no_other_question(one: str, other: str) -> None:
    assert question_id("math", one) == question_id("math", other)


def test_symbols_are_told_apart_and_punctuation_is_not() -> None:
    assert words_and_symbols("Is 3 - 4, really?") == "is 3 - 4 really"
