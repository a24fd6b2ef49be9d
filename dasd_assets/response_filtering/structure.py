r"""Structure in a text: rows that are alike because they are rows, not because the text loops.

Structure are closed blocks of code, LaTeX environments (matrices, aligned equations), rows of
tables, rows of numbers, and items of enumerations (bullets, numbers, "Case 3: ...", "n = 3: ...").
In them a phrase may come often, as long as the rows that it stands in are different ones.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import numpy.typing as npt

from dasd_assets.response_filtering.repetition import (
    Repeated,
    Words,
    phrases_above,
    row_hashes,
)

MORE_ALLOWED: Final = 4
"""Times as many equal phrases are allowed in equal rows of structure: a matrix of zeros."""

_MARK: Final = re.compile(
    r"^[ \t>]*(?P<fence>```+|~~~+)(?P<tag>[^\n]*)$"
    r"|\\(?P<which>begin|end)\{(?P<name>[a-zA-Z]+\*?)\}",
    re.MULTILINE,
)
_ROW: Final = re.compile(
    r"""^[ \t>]*(?:
        \|[^\n]*                                            # a row of a table
      | [^\n|&]*(?:[|&][^\n|&]*){2,}                        # one without bars outside
      | [^\n\t]*(?:\t[^\n\t]*){2,}
      | (?=[^\n]*\d)[^A-Za-z\n]*                            # numbers alone
      | (?:[-*+•–]|\(?\d{1,4}[.):]|\(?[A-Za-z][.)]|\d+\s*(?:->|→|=>|:))\s[^\n]*     # an item
      | \W{0,4}(?:(?:Case|Step|Row|Line|Day|Round|Test|Trial|Number|Person|Term|Index|Iteration)\s
          |(?:For|If|When|At|Let|Try|Check|With)\s+\W{0,2})?
        (?:\w\w?\s*(?:=|:)\s*)?-?\d[\d.,]*\W[^\n]*            # Case 3: ..., For n = 3, ...
    )$""",
    re.MULTILINE | re.VERBOSE,
)


def structural(words: Words) -> npt.NDArray[np.bool_]:
    """Whether each word lies in structure, shape (words,)."""
    spans = _blocks(words.text)
    spans += [match.span() for match in _ROW.finditer(words.text)]
    inside = np.zeros(len(words.text) + 1, np.int32)
    for start, end in spans:
        inside[start] += 1
        inside[end] -= 1
    return np.asarray(np.cumsum(inside)[words.starts] > 0)


def _blocks(text: str) -> list[tuple[int, int]]:
    """Closed blocks of code and environments of LaTeX, in one pass however often they open."""
    spans: list[tuple[int, int]] = []
    opened: dict[str, int] = {}
    fence, fence_start = "", 0
    for mark in _MARK.finditer(text):
        if mark["fence"]:
            if not fence:
                fence, fence_start = mark["fence"], mark.start()
            elif mark["fence"].startswith(fence) and not mark["tag"].strip():
                spans.append((fence_start, mark.end()))
                fence = ""
        elif mark["which"] == "begin":
            opened[mark["name"]] = mark.start()
        elif mark["name"] in opened:
            spans.append((opened.pop(mark["name"]), mark.end()))
    return spans


def structural_loop(words: Words, n_words: int, most_allowed: int) -> Repeated | None:
    """A phrase in structure that comes too often in one row, or in rows that are the same.

    Args:
        words: those in structure alone.
        most_allowed: as for other text.
    """
    rows, row_of_word = row_hashes(words)
    for places in phrases_above(words, n_words, most_allowed):
        lines, in_line = np.unique(row_of_word[places], return_counts=True)
        are_alike = 2 * len(np.unique(rows[lines])) < len(lines)
        if in_line.max() > most_allowed or (
            are_alike and len(places) > most_allowed * MORE_ALLOWED
        ):
            first = int(places[0])
            return Repeated(words.slice(first, first + n_words), len(places))
    return None
