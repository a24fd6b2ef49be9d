"""Sentences of reasoning text, as spans that cover every byte."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from dasd_assets.response_filtering.student_format import part_spans

Span = tuple[int, int]


class Segmenter(Protocol):
    """Cuts text into sentences; name and version are recorded with what it made."""

    name: str
    version: str

    def spans(self, text: str) -> list[Span]:
        """Contiguous character spans from 0 to the end of the text; none is empty."""
        ...


_BOUNDARY = re.compile(
    r"""
    [.!?。！？\n]  # one set of characters first: the search skips to it
    (?: (?<=[.!?])(?P<closing>["')\]]?)\ +(?=["'(\[]?[^\Wa-z_]|[$\\`*•-])  # space, a new start
      | (?<=[。！？])\s*                                                    # CJK needs no space
      | (?<=\n)\s*                                                        # a line is its own
    )
    """,
    re.VERBOSE,
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:e\.g|i\.e|etc|vs|cf|Fig|Eq|Eqs|Sec|No|Dr|Mr|Mrs|Ms|Prof|St|approx|resp|[A-Z])\.$"
)
_LONGEST_ABBREVIATION = len("approx.") + 1  # and the character before it
_FENCE = re.compile(r"^[ \t]*(```)", re.MULTILINE)


class ReasoningSegmenter:
    """Rules for step-by-step reasoning.

    A sentence ends at an end mark that is followed by white space and a new start, or at a line
    break. Decimals, abbreviations and initials do not end one; a fenced code block is one sentence.
    """

    name = "reasoning-rules"
    version = "2"

    def spans(self, text: str) -> list[Span]:
        """See `Segmenter`."""
        fenced = _fenced(text)
        cuts = [0]
        for match in _BOUNDARY.finditer(text):
            cut = match.end()
            if fenced and any(start < cut < end for start, end in fenced):
                continue
            if match["closing"] == "" and _abbreviated(text, match.start() + 1):
                continue
            if cuts[-1] < cut < len(text):
                cuts.append(cut)
        cuts.append(len(text))
        return [(start, end) for start, end in pairwise(cuts) if start < end]


DEFAULT_SEGMENTER = ReasoningSegmenter()


def _abbreviated(text: str, end: int) -> bool:
    """Whether the mark before `end` belongs to an abbreviation. Looks at the last word alone, as
    from the start of the text this would take time quadratic in its length."""
    return _ABBREVIATION.search(text, max(0, end - _LONGEST_ABBREVIATION), end) is not None


def _fenced(text: str) -> list[Span]:
    """Spans of fenced code blocks; an open one reaches to the end."""
    marks = [match.start(1) for match in _FENCE.finditer(text)]
    spans = []
    for opening, closing in zip(marks[::2], [*marks[1::2], len(text)], strict=False):
        end = text.find("\n", closing)
        spans.append((opening, len(text) if closing == len(text) or end < 0 else end))
    return spans


@dataclass(frozen=True)
class Sentence:
    """One sentence: its part (reasoning or answer) and its bytes in the canonical text."""

    part: str
    start_byte: int
    end_byte: int


def response_sentences(reasoning: str, answer: str, segmenter: Segmenter) -> list[Sentence]:
    """Sentences of both parts of a response, in order; template text belongs to none."""
    sentences = []
    spans = part_spans(reasoning, answer)
    for part, text, (offset, _) in zip(
        ("reasoning", "answer"), (reasoning, answer), spans, strict=True
    ):
        for start, end in segmenter.spans(text):
            n_bytes = len(text[start:end].encode())
            sentences.append(Sentence(part, offset, offset + n_bytes))
            offset += n_bytes
    return sentences
