"""Sentence rules for step-by-step reasoning: formulas, code, lists, Markdown, CJK."""

from __future__ import annotations

import re

_CJK = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3"
_EMOJI = r"\u2600-\u27bf\u2b50\u2b55\U0001f000-\U0001faff"
_JOINED = r"\ufe0f\u200d"  # what joins and colours them
_START = rf"""
    (?: [^\Wa-z_]                        # a capital, a digit, a letter of another script
      | [\"'“‘«(\[]+(?![a-z\s])          # an opening quote or bracket
      | [*_]{{1,3}}(?=\S) | \$(?=\S) | ` | \\(?![)\]])   # emphasis, a formula, code
      | [-−](?=\d)                       # a negative number
      | [b-z](?=[ ^_(=<>+'])             # a variable: "p divides n", "f(2) is 8"
      | [¿¡]                             # Spanish says at the start that it asks
      | [{_EMOJI}][{_EMOJI}{_JOINED}]*+[ \t\xa0]*(?=\S)   # an emoji, unless it is the last
    )
"""
_SCAN = re.compile(
    rf"""
    [.!?…\n`~\\$。！？．｡।॥؟۔]  # one set of characters first: the search skips to it
    (?: (?<=[.!?…])[.!?…]*+[\"'”’»)\]}}*_]*+[{_EMOJI}{_JOINED}]*+
        (?: [ \t\xa0]+(?={_START}) | (?<=[!?])(?=[{_CJK}]) )
      | (?<=\n)\s*                                          # a line is its own
      | (?<=\$)(?: \$[^$]*+\$\$ | (?=\S)[^$\n]*+(?<=\S)\$(?!\d) )        # formulas
      | (?<=\\)(?: \[[^\\]*+(?:\\[^\[\]][^\\]*+)*+\\\] | \([^\\\n]*+(?:\\[^()\n][^\\\n]*+)*+\\\)
                 | begin\{{(?P<name>[^}}\n]*)\}}[\s\S]{{0,4000}}?\\end\{{(?P=name)\}} )
      | (?<=[`~])(?P<fence>``+|~~+)[\s\S]*?(?:[`~](?P=fence)|\Z)   # code; left open: to the end
      | (?<=`)[^`\n]+`
      | (?<=[。！？．｡])[。！？．｡]*[\"'」』”’）)】》]*\s*          # CJK needs no space
      | (?<=[।॥؟۔])[।॥؟۔!?]*[\"'”’»)\]*_]*\s*                 # nor do Hindi, Arabic and Urdu
    )
    """,
    re.VERBOSE,
)
_AFTER_PROTECTED = re.compile(rf"[ \t\xa0]+(?={_START})", re.VERBOSE)
_ENUMERATOR = re.compile(r"\d{1,3}|[A-Za-z]|[ivx]{2,4}")
_ENUMERATED = re.compile(
    r"[\s>*_#-]*(?:(?:Step|Case|Part|Question|Problem|Example|Rule|Claim|Lemma|Theorem|Option)\ )?"
    r"[A-Za-z\d]+",
)
_INITIALS = re.compile(r"[A-Z](?:\.[A-Z])*")
_NEXT_WORD = re.compile(r"[\"'“‘(\[*_]*([^\W\d_]+)(\.?)")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ABBREVIATIONS = _words("e.g i.e cf vs viz Dr Mr Mrs Ms Prof Messrs resp approx ca Sra Srta Dra")
_ABBREVIATIONS_THAT_MAY_END = _words(
    "Fig Figs Eq Eqs Eqn Sec Sect Ch Chap Ex Def Thm Lem Prop Cor Ref Refs App Tab Vol vol p pp ed "
    "eds al a.m p.m Inc Ltd Co Corp Jr Sr Ph.D St Mt Gen Gov Sen Rep Rev Hon Jan Feb Mar Apr Jun "
    "Jul Aug Sep Sept Oct Nov Dec Nos"
)
"""They end a sentence if a word follows that opens one."""
_ABBREVIATIONS_BEFORE_NUMBERS = _words(
    "fig figs eq eqs eqn eqns sec sect ch chap ex def thm lem prop cor ref refs tab pg pág núm art"
)
"""They end a sentence unless a number or a bracket follows: "by eq. (3)"."""
_NUMBER = re.compile(r"[(\[*_$]*(?:\d|\\ref|\\eqref|[A-Z]\.?\d|[IVX]+\b)")
_OPENERS = _words(
    "A After Again All Also Although An And Another Answer Are As At Because Both But By Can Check "
    "Choice Compute Consider Do Does Each Finally First For From Given He Hence Her Here His How "
    "However I If In Is It Its Let Maybe Moreover My Next No Not Note Now OK Okay On One Option Or "
    "Our Second She Similarly Since So Some Such Suppose That The Their Then There Therefore These "
    "They This Those Thus To Two Use Wait Was We Well What When Where Which While Why With Yes You"
)
_LABELS = _words(
    "answer Answer case Case choice Choice option Option point Point set Set is to not or "
    "choose pick angle line side vertex type Type part Part"
)
"""A single capital after one of them is a label, not an initial."""
_ENDS_OF_SHORT_WORDS = frozenset(
    word[-2:]
    for word in (
        *_ABBREVIATIONS, *_ABBREVIATIONS_THAT_MAY_END, *_ABBREVIATIONS_BEFORE_NUMBERS, "No", "no",
        *(a + b for a in "ivx" for b in "ivx"),
    )
)  # fmt: skip
_MARKS, _SPACES, _PROTECTS = ".!?…", " \t\xa0", "`~$\\"
_MAY_GO_ON = "=abcdefghijklmnopqrstuvwxyz"
_LONGEST_WORD = 14
_WRAPPED_LINE = range(60, 101)
"""Lengths of a line that an editor may have wrapped in the middle of a sentence."""


class ReasoningSegmenter:
    """Rules for step-by-step reasoning.

    A sentence ends at an end mark that is followed by white space and a new start, or at a line
    break. A block of code and a formula are not cut inside. The number or bullet of a list item
    belongs to the item. Abbreviations and initials do not end a sentence.
    """

    name = "reasoning-rules"
    version = "4"

    def ends(self, text: str) -> list[int]:
        """See `Segmenter`."""
        ends = []
        for match in _SCAN.finditer(text):
            start, end = match.span()
            first = text[start]
            if first == "\n":
                if not _is_wrapped(text, start, end):
                    ends.append(end)
            elif first == ".":
                after = text[start + 1]
                if after in _MARKS or not _is_abbreviated(text, start, end, after not in _SPACES):
                    ends.append(end)
            elif first in _PROTECTS:
                end = _end_after_protected(text, match)
                if end:
                    ends.append(end)
            else:
                ends.append(end)
        if text and (not ends or ends[-1] < len(text)):
            ends.append(len(text))
        return ends


def block_ends(text: str) -> list[int]:
    """Ends of lines, of blocks of code and of displayed formulas; the last is the text's end."""
    breaks = (match.span() for match in _SCAN.finditer(text) if text[match.start()] == "\n")
    ends = [end for start, end in breaks if not _is_wrapped(text, start, end)]
    return [*ends, len(text)] if text else []


def _is_wrapped(text: str, start: int, end: int) -> bool:
    """Whether a line break ends nothing: it lies in a sentence or a heading, or at an edge."""
    following = text[end : end + 1]
    if not following or not start:
        return True
    if following not in _MAY_GO_ON:
        return False
    if following == "=":  # underlines the heading
        return text.startswith("===", end)
    return (
        end - start == 1
        and start - text.rfind("\n", 0, start) - 1 in _WRAPPED_LINE
        and text[start - 1] not in ".!?:"
    )


def _end_after_protected(text: str, match: re.Match[str]) -> int:
    """End of the sentence that a formula or inline code closes ("$x = 2.$ Then"); 0 if none."""
    last = text[match.end() - 4 : match.end()].rstrip("`$\\)] \t\n")[-1:]
    if match["fence"] or not last or last not in ".!?":
        return 0
    after = _AFTER_PROTECTED.match(text, match.end())
    return after.end() if after else 0


def _is_abbreviated(text: str, dot: int, next_start: int, is_closed: bool) -> bool:
    """Whether the full stop belongs to an abbreviation, an initial or the number of an item.

    Looks at a few characters alone, as from the start of the text this would take time quadratic
    in its length.
    """
    last_two = text[max(0, dot - 2) : dot]
    if len(last_two) == 2 and last_two.isalpha() and last_two not in _ENDS_OF_SHORT_WORDS:
        return False  # most sentences end here
    before = text[max(0, dot - 2 * _LONGEST_WORD) : dot]
    words = before.split()
    if not words or before[-1].isspace():
        return False
    word = words[-1].lstrip("([\"'“‘*_")
    if _ENUMERATOR.fullmatch(word) and _is_enumerated(before, is_closed):
        return True
    if is_closed:
        return False
    if word in _ABBREVIATIONS:
        return True
    if word in _ABBREVIATIONS_BEFORE_NUMBERS:
        is_unit = len(words) > 1 and words[-2][-1].isdigit()  # "5 sec."
        return not is_unit and _NUMBER.match(text, next_start) is not None
    if word in ("No", "no"):
        return text[next_start].isdigit() and word == "No"
    is_initial = _INITIALS.fullmatch(word) is not None
    if not is_initial and word not in _ABBREVIATIONS_THAT_MAY_END:
        return False
    following = _NEXT_WORD.match(text, next_start)
    if not is_initial:
        return following is None or following[1] not in _OPENERS
    if following is None:
        return False
    if following[2] and len(following[1]) == 1:  # K. L. Brandt
        return True
    if following[1] in _OPENERS:
        return False
    return len(word) > 1 or (len(words) > 1 and words[-2] not in _LABELS)


def _is_enumerated(before: str, is_closed: bool) -> bool:
    """Whether a number or letter is the first thing in its line, perhaps after "Step"."""
    line = before.rpartition("\n")[2]
    if len(line) == len(before) and len(before) == 2 * _LONGEST_WORD:
        return False  # the line is longer than what is looked at
    found = _ENUMERATED.fullmatch(line)
    return found is not None and not (is_closed and " " in line.strip(" \t>*_#-"))
