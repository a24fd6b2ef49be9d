"""Which questions are compared with which, and which of two near-duplicates stays.

Questions stand in one order: the shards in the order in which they were first curated, in a shard
as the drop has them. The earlier of two near-duplicates stays, and only questions that stay are
compared with. Of those that share a band key (a bucket) the first MAX_COMPARED are; this bounds
the work on a template that thousands of questions share.

The rule looks only back in that order, and a question of a later shard had already been compared
with the same ones of this shard when it was curated. So curating a shard again, with later ones
there by now, gives what it gave the first time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dasd_assets.questions.curation.near_duplicates import COMPARED_AT_ONCE, jaccard

MAX_COMPARED = 50


Question = tuple[int, int]
"""Place of its shard, row in it: sorts as the order goes."""


class Match(NamedTuple):
    """The question that stays, and the similarity to it."""

    question: Question
    jaccard: float


class Buckets:
    """Questions that stay, by band key."""

    def __init__(self, min_jaccard: float) -> None:
        self._min_jaccard = min_jaccard
        self._members: defaultdict[int, list[Question]] = defaultdict(list)
        self._later: defaultdict[int, list[Question]] = defaultdict(list)
        self._shingles: dict[Question, npt.NDArray[np.uint32]] = {}

    def add(
        self, question: Question, shingles: npt.NDArray[np.uint32], keys: Iterable[int]
    ) -> None:
        """Put in a question that stays; the next one stands behind it."""
        for key in keys:
            if len(self._members[key]) < MAX_COMPARED:
                self._members[key].append(question)
                self._shingles[question] = shingles

    def add_later(
        self, question: Question, shingles: npt.NDArray[np.uint32], keys: Iterable[int]
    ) -> None:
        """Put in a question of a shard that stands behind all that `match` will be asked for."""
        self._shingles[question] = shingles
        for key in keys:
            self._later[key].append(question)

    def match(self, shingles: npt.NDArray[np.uint32], keys: Iterable[int]) -> Match | None:
        """The first question that this one, the next in the order, is a near-duplicate of."""
        found: set[Question] = set()
        for key in keys:
            members = self._members.get(key, [])
            found.update(members)
            if len(members) < MAX_COMPARED:
                found.update(self._later.get(key, []))
        if not found:
            return None
        candidates = sorted(found)
        for some in self._portions(candidates):
            similarities = jaccard(shingles, [self._shingles[question] for question in some])
            enough = np.flatnonzero(similarities >= self._min_jaccard)
            if len(enough):
                first = int(enough[0])
                return Match(some[first], float(similarities[first]))
        return None

    def _portions(self, questions: list[Question]) -> Iterator[list[Question]]:
        """The questions in their order, so many together as have COMPARED_AT_ONCE shingles."""
        portion, n_shingles = list[Question](), 0
        for question in questions:
            portion.append(question)
            n_shingles += len(self._shingles[question])
            if n_shingles >= COMPARED_AT_ONCE:
                yield portion
                portion, n_shingles = [], 0
        if portion:
            yield portion
