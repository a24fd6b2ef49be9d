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
    """Content hash of a question, the same for spellings that differ in case or white space.

    Of a conversation it covers what was said before, a system prompt of its own included.
    """
    earlier = normalised_messages(earlier_messages)
    return normalised_question_id(domain, normalise(question), earlier)


def normalised_question_id(domain: str, question: str, earlier_messages: Messages = ()) -> str:
    """The same of a question, and of messages before it, that have been normalised."""
    said = [f"{each['role']}{_ROLE_END}{each['content']}{_TURN_END}" for each in earlier_messages]
    folded = " ".join(_JOINER.sub("", "".join([*said, question])).split()).casefold()
    return "q-" + hashlib.sha256(f"{domain}\0{folded}".encode()).hexdigest()[:16]


def words(normalised: str) -> list[str]:
    """The words that decontamination compares: letters and digits, case folded."""
    return _WORD.findall(normalised.casefold())


def words_and_symbols(normalised: str) -> str:
    """What is compared of a short question as a whole, as `3 + 4` is not `3 - 4`."""
    return " ".join(_WORD_OR_SYMBOL.findall(normalised.casefold()))
