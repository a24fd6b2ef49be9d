"""A library's sentences, between the code and formulas that no library knows about."""

from __future__ import annotations

from importlib.metadata import version
from itertools import pairwise

from dasd_assets.divergence_sampling.reasoning_segmenter import ReasoningSegmenter, block_ends

LANGUAGE = "en"
BLOCK_MARKS = ("```", "~~~", "\\[", "$$", "\\begin{")
"""What stays whole begins with one of them."""


class SentencexSegmenter:
    """sentencex (Wikimedia) on every line of prose, by its rules for English.

    Lines, blocks of code and displayed formulas are cut as in the reasoning rules.
    """

    name = "sentencex"

    def __init__(self) -> None:
        from sentencex import get_sentence_boundaries

        # The rules of this project cut the lines and blocks.
        self.version = f"{version('sentencex')}+rules{ReasoningSegmenter.version}"
        self._boundaries = get_sentence_boundaries

    def ends(self, text: str) -> list[int]:
        """See `Segmenter`."""
        ends: list[int] = []
        for start, end in pairwise([0, *block_ends(text)]):
            block = text[start:end]
            if not block.startswith(BLOCK_MARKS):
                line = block.replace("\n", " ")  # to the library, a line break is a space
                starts = (s["start_index"] for s in self._boundaries(LANGUAGE, line))
                ends += (start + place for place in starts if 0 < place < len(block))
            ends.append(end)
        return ends
