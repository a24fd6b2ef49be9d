r"""One form per question: what is asked, what identifies it, and the words of it.

Unicode is brought to NFC, not NFKC: NFKC would turn `x²` into `x2` and `ℝ` into `R`, and that is
another question. Characters that nobody sees are removed: control characters (line breaks of all
kinds become `\n`, tabs stay), zero-width spaces, byte order marks, soft hyphens, and marks of
writing direction. Joiners (U+200C, U+200D) stay in the text, as Persian, Indic scripts and emoji
are written with them, but do not make another question.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

_LINE_BREAK = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\ufeff]"
)
_JOINER = re.compile("[\u200c\u200d]")
_WORD = re.compile(r"\w+")
_WORD_OR_SYMBOL = re.compile(r"""\w+|[^\w\s.,;:!?'"]""")


def normalise(question: str) -> str:
    """The question as it is asked: NFC, nothing invisible, outer white space removed."""
    if question.isascii() and question.isprintable():
        return question.strip()
    visible = _INVISIBLE.sub("", _LINE_BREAK.sub("\n", question))
    return unicodedata.normalize("NFC", visible).strip()


def question_id(domain: str, question: str) -> str:
    """Content hash of a question, the same for spellings that differ in case or white space."""
    return normalised_question_id(domain, normalise(question))


def normalised_question_id(domain: str, question: str) -> str:
    """The same of a question that has been normalised."""
    folded = " ".join(_JOINER.sub("", question).split()).casefold()
    return "q-" + hashlib.sha256(f"{domain}\0{folded}".encode()).hexdigest()[:16]


def words(normalised: str) -> list[str]:
    """The words that decontamination compares: letters and digits, case folded."""
    return _WORD.findall(normalised.casefold())


def words_and_symbols(normalised: str) -> str:
    """What is compared of a short question as a whole, as `3 + 4` is not `3 - 4`."""
    return " ".join(_WORD_OR_SYMBOL.findall(normalised.casefold()))
