"""Normalisation: one form per question, and nothing that changes its meaning."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dasd_assets.questions.curation.normalisation import normalise, question_id, words_and_symbols


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


def test_symbols_are_told_apart_and_punctuation_is_not() -> None:
    assert words_and_symbols("Is 3 - 4, really?") == "is 3 - 4 really"
