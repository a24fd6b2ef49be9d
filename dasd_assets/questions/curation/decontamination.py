"""Decontamination: which questions share words with an evaluation set (paper section 6.1).

The n-grams of a question are never written out: their hashes are looked up, and what is found is
compared word by word. So memory is linear in the text, however long a question is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dasd_assets.questions.curation.normalisation import normalise, words, words_and_symbols
from dasd_assets.questions.curation.window_hashes import window_hashes


class EvaluationGrams:
    """The word n-grams of all evaluation sets, to be looked up by questions.

    A question that shares `ngram_words` consecutive words with an evaluation question is
    contaminated; one with fewer words is compared whole, symbols included. The whole of a short
    question is never n words: it equals no gram of a long one.
    """

    def __init__(self, benchmark_questions: pa.Table, ngram_words: int) -> None:
        self._n = ngram_words
        self._wholes: dict[str, str] = {}
        self._words: list[list[str]] = []
        self._benchmarks: list[str] = []
        hashes, owners, starts = [], [], []
        # In the order of the sets' names, so that of a gram in several sets the first is told.
        for row in benchmark_questions.sort_by("benchmark").to_pylist():
            question = normalise(row["question"])
            own = words(question)
            if len(own) < ngram_words:
                self._wholes.setdefault(words_and_symbols(question), row["benchmark"])
                continue
            found = window_hashes(_hashes(own), ngram_words)
            hashes.append(found)
            owners.append(np.full(len(found), len(self._words), np.int32))
            starts.append(np.arange(len(found), dtype=np.int32))
            self._words.append(own)
            self._benchmarks.append(row["benchmark"])
        self._wholes.pop("", None)
        empty = np.empty(0, np.uint64)
        self._hashes, first = np.unique(np.concatenate([empty, *hashes]), return_index=True)
        self._owners = np.concatenate([empty.astype(np.int32), *owners])[first]
        self._starts = np.concatenate([empty.astype(np.int32), *starts])[first]

    def match(self, question: str) -> str | None:
        """The shared n-gram and the set that has it; None of a question that is clean.

        Args:
            question: normalised.
        """
        own = words(question)
        if len(own) < self._n:
            whole = words_and_symbols(question)
            return f"{whole} ({self._wholes[whole]})" if whole in self._wholes else None
        if not len(self._hashes):
            return None
        hashes = window_hashes(_hashes(own), self._n)
        places = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        starts = np.flatnonzero(self._hashes[places] == hashes)
        hits, first = np.unique(places[starts], return_index=True)
        shared = (
            self._said(hit)
            for hit, start in zip(hits, starts[first], strict=True)
            if own[start : start + self._n] == self._gram(hit)
        )
        return min(shared, default=None)

    def matches_of_turns(self, conversations: list[list[str]]) -> dict[int, str]:
        """Index of each contaminated conversation -> what its first such turn shares.

        Args:
            conversations: the user's normalised turns of each.
        """
        firsts = (next(filter(None, map(self.match, turns)), None) for turns in conversations)
        return {index: found for index, found in enumerate(firsts) if found is not None}

    def _gram(self, place: int) -> list[str]:
        start = self._starts[place]
        return self._words[self._owners[place]][start : start + self._n]

    def _said(self, place: int) -> str:
        return f"{' '.join(self._gram(place))} ({self._benchmarks[self._owners[place]]})"


def _hashes(tokens: list[str]) -> npt.NDArray[np.uint64]:
    # Python's own, which differ from process to process: these are never stored.
    return np.fromiter(map(hash, tokens), np.int64, len(tokens)).view(np.uint64)
