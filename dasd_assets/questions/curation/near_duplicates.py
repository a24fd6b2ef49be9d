r"""Near-duplicates: the same question in nearly the same words.

A question is a near-duplicate of another of its domain if

1. both have the same **formal tokens** in the same order: numbers, mathematical symbols and single
   letters; and the same code and units (`told_apart`). "What is 345 + 128?" and "What is 345 +
   129?" are two questions however alike they look, and so are two multiple-choice questions with
   other letters or values;
2. the Jaccard similarity of their **word shingles** (k words in a row, case folded, without
   punctuation, brackets and LaTeX's dollars and backslashes) is at least the threshold. Before the
   first and behind the last word stand k - 1 blanks, so that each word is in k shingles.

One changed word changes k shingles. With k = 5 and 0.8 a question of up to 40 words therefore has
to have every word in common, and what is found in short, templated questions is other punctuation
and markup; longer ones may differ in a word or a line of instructions.

Candidates come from MinHash and LSH (datasketch): the keys of its bands, which the formal tokens
and the domain are part of, are stored per shard, and questions that share a key are compared
exactly. LSH misses some pairs near the threshold: at 0.8 one in eight, at 0.9 one in a thousand.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from dasd_assets.profile import Questions
from dasd_assets.questions.curation.normalisation import told_apart
from dasd_assets.questions.curation.window_hashes import multipliers, window_hashes
from resources.splitmix import spread_bits

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_RAISED = "\u00b2\u00b3\u00b9\u2070-\u209f"
_TOKEN = re.compile(
    rf"\d+(?:[.,]\d+)*"  # a number
    rf"|[{_CJK}]"  # scripts without spaces: each character is a word
    rf"|[^\W\d_{_CJK}{_RAISED}]+"  # a word
    r"|(?<=[\w)])(?<![^\W\d_]{2})!"  # a factorial, no exclamation mark
    rf"|[-+*/^=<>%&|~±×÷¬°′″−–√{_RAISED}\u2190-\u22ff\u27c0-\u27ef\u2980-\u2aff]"  # a symbol
)
_IS_CJK = re.compile(f"[{_CJK}]")

_PAD = 1 << 32
"""Stands before the first and behind the last word; no word has this hash."""

_LSH_WEIGHTS = (0.1, 0.9)
"""Of false candidates and missed pairs: the former only cost a comparison."""


MINHASHED_AT_ONCE = 4_096
"""MinHash makes a table of shingles x permutations; a long question has a million shingles."""
COMPARED_AT_ONCE = 1 << 20
"""Shingles of candidates that are compared with a question at a time."""


@dataclass(frozen=True)
class Comparable:
    """What is compared of one question.

    Attributes:
        shingles: sorted hashes of its shingles, uint32; none of a question without words.
        formal: hash of its domain and its formal tokens.
    """

    shingles: npt.NDArray[np.uint32]
    formal: int


def comparables(questions: list[str], domains: list[str], shingle_words: int) -> list[Comparable]:
    """Normalised questions as they are compared, in the same order."""
    token_lists = [_TOKEN.findall(question.casefold()) for question in questions]
    pad = [_PAD] * (shingle_words - 1)
    padded = list(pad)
    for tokens in token_lists:
        padded += [*map(_crc, tokens), *pad]
    hashes = np.array(padded, np.uint64)
    windows = window_hashes(hashes, shingle_words)
    shingles = (windows >> np.uint64(32)).astype(np.uint32)
    result = []
    start = 0
    for question, tokens, domain in zip(questions, token_lists, domains, strict=True):
        end = start + len(tokens) + len(pad)
        own = np.unique(shingles[start:end]) if tokens else np.empty(0, np.uint32)
        parts = [domain, *filter(_is_formal, tokens), *told_apart(question)]
        formal = "\0".join(parts).encode()
        digest = hashlib.blake2b(formal, digest_size=8).digest()
        result.append(Comparable(own, int.from_bytes(digest, "little")))
        start += len(tokens) + len(pad)
    return result


@lru_cache(1 << 16)
def _crc(token: str) -> int:
    return zlib.crc32(token.encode())


@lru_cache(1 << 16)
def _is_formal(token: str) -> bool:
    return token[0].isdigit() or (len(token) == 1 and not _IS_CJK.match(token))


class Banding:
    """MinHash with LSH for one set of settings: from a question to the keys of its bands."""

    def __init__(self, settings: Questions) -> None:
        from datasketch import MinHash, MinHashLSH

        threshold, n = settings.near_duplicate_jaccard, settings.near_duplicate_permutations
        # One band would do for equal sets alone, but datasketch wants two.
        lsh = MinHashLSH(threshold=min(threshold or 1.0, 0.95), num_perm=n, weights=_LSH_WEIGHTS)
        self._bands, self._rows = int(lsh.b), int(lsh.r)
        # The shingles are hashes already; int leaves them as they are.
        self._minhash = MinHash(num_perm=n, seed=1, hashfunc=int, scheme="affine32")
        self.name = (
            f"affine32, {settings.near_duplicate_shingle_words} words, {n} permutations, "
            f"{self._bands} x {self._rows}"
        )
        """Keys of two questions can be compared if this is equal."""

    def keys(self, questions: list[Comparable]) -> npt.NDArray[np.uint64]:
        """Band keys, [question, band]. Questions without shingles have keys that mean nothing."""
        signatures = np.empty((len(questions), self._bands * self._rows), np.uint64)
        for index, question in enumerate(questions):
            self._minhash.clear()
            for start in range(0, len(question.shingles), MINHASHED_AT_ONCE):
                some = question.shingles[start : start + MINHASHED_AT_ONCE]
                self._minhash.update_batch(some.tolist())
            signatures[index] = self._minhash.hashvalues[: signatures.shape[1]]
        bands = signatures.reshape(len(questions), self._bands, self._rows)
        keys = ((bands + np.uint64(1)) * multipliers("row", self._rows)).sum(2, np.uint64)
        keys += multipliers("band", self._bands)
        keys ^= np.array([question.formal for question in questions], np.uint64)[:, None]
        return spread_bits(keys)


def jaccard(
    shingles: npt.NDArray[np.uint32], others: list[npt.NDArray[np.uint32]]
) -> npt.NDArray[np.float64]:
    """Jaccard similarity of one set of shingles to each of several; none is empty."""
    sizes = np.array([len(other) for other in others])
    together = np.concatenate(others)
    places = np.searchsorted(shingles, together)
    is_shared = shingles[np.minimum(places, len(shingles) - 1)] == together
    shared = np.add.reduceat(is_shared.astype(np.int64), np.cumsum(sizes) - sizes)
    return np.asarray(shared / (len(shingles) + sizes - shared))
