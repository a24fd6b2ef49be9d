r"""One form per question: what is asked, what identifies it, and the words of it.

Unicode is brought to NFC, not NFKC: NFKC would turn `x²` into `x2` and `ℝ` into `R`, and that is
another question. Characters that nobody sees are removed: control characters (line breaks of all
kinds become `\n`, tabs stay), zero-width spaces, byte order marks, soft hyphens, and marks of
writing direction. Joiners (U+200C, U+200D) stay in the text, as Persian, Indic scripts and emoji
are written with them, but do not make another question.

Letter case and white space make no other question, except where they are content (`told_apart`):
code with its indentation, and units (mW is not MW).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

_LINE_BREAK = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\ufeff]"
)
_JOINER = re.compile("[\u200c\u200d]")
_ROLE_END, _TURN_END = "\x00", "\x01"
"""They stand in no normalised text, so that no question has the id of a conversation."""

_WORD = re.compile(r"\w+")
_WORD_OR_SYMBOL = re.compile(r"""\w+|[^\w\s.,;:!?'"]""")

_FENCED = re.compile(r"^[ \t>]*(```+|~~~+)[^\n]*\n(.*?)(?:^[ \t>]*\1|\Z)", re.DOTALL | re.MULTILINE)
_PYTHON = re.compile(
    r"^[ \t]*(?:def|class|for|while|if|elif|else|try|except|with|async)\b[^\n]*:[ \t]*(?:#.*)?$",
    re.MULTILINE,
)
_NUMBERED_UNIT = re.compile(
    r"(?<=\d)(?:[\s~]|\\[,;: ])*(?:\\(?:text|mathrm)\{\s*)?"
    r"(?![ap]m\b|[AP]M\b)"  # o'clock
    r"((?:[yzafpnuµμmcdhkMGTPEZY]|da)?(?:Hz|Pa|Wb|Bq|Gy|Sv|eV|mol|bar|cal|[WVAJNFHTSKCLlgmsBbMΩ]))"
    r"(?![A-Za-z])"
)
_UNIT = re.compile(
    r"(?<![A-Za-z\\])([nuµμmkMG](?:Hz|Pa|Wb|Bq|Gy|Sv|eV|[WVAJNFHTSKCLB]))(?![A-Za-z])"
)

Messages = Sequence[dict[str, str]]


def normalise(question: str) -> str:
    """The question as it is asked: NFC, nothing invisible, outer white space removed."""
    if question.isascii() and question.isprintable():
        return question.strip()
    visible = _INVISIBLE.sub("", _LINE_BREAK.sub("\n", question))
    return unicodedata.normalize("NFC", visible).strip()


def normalised_messages(messages: Messages | None) -> Messages:
    """The messages before a question as they are sent; none where there are none."""
    return [message | {"content": normalise(message["content"])} for message in messages or ()]


def question_id(domain: str, question: str, earlier_messages: Messages | None = None) -> str:
    """Content hash of a question, the same for spellings that differ in case or white space,
    unless these are content.

    Of a conversation it covers what was said before, a system prompt of its own included.
    """
    earlier = normalised_messages(earlier_messages)
    return normalised_question_id(domain, normalise(question), earlier)


def normalised_question_id(domain: str, question: str, earlier_messages: Messages = ()) -> str:
    """The same of a question, and of messages before it, that have been normalised."""
    said = [f"{each['role']}{_ROLE_END}{each['content']}{_TURN_END}" for each in earlier_messages]
    folded = " ".join(_JOINER.sub("", "".join([*said, question])).split()).casefold()
    if content := told_apart(question):
        folded = "\0".join([folded, *content])
    return "q-" + hashlib.sha256(f"{domain}\0{folded}".encode()).hexdigest()[:16]


def told_apart(normalised: str) -> list[str]:
    """Where letter case or white space is content: blocks of code, indented Python, units.

    Most questions have nothing of it. White space at the ends of lines counts nowhere.
    """
    found = []
    if "```" in normalised or "~~~" in normalised:
        for block in _FENCED.finditer(normalised):
            found += [line.rstrip() for line in block[2].rstrip().split("\n")]
    elif (header := _PYTHON.search(normalised)) is not None:
        lines = normalised[header.start() :].split("\n")
        found += [line.rstrip() for line in lines if line[:1] in " \t" and line.strip()]
    found += _NUMBERED_UNIT.findall(normalised)
    return found + _UNIT.findall(normalised)


def words(normalised: str) -> list[str]:
    """The words that decontamination compares: letters and digits, case folded."""
    return _WORD.findall(normalised.casefold())


def words_and_symbols(normalised: str) -> str:
    """What is compared of a short question as a whole, as `3 + 4` is not `3 - 4`."""
    return " ".join(_WORD_OR_SYMBOL.findall(normalised.casefold()))
