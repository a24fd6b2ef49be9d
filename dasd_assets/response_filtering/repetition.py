"""Repetition in one text, found on arrays: paragraphs, sentences, phrases, loops without a space.

The text is cut into words once; words, sentences and phrases become 64-bit hashes, and sorting them
shows what comes too often. Everything takes time in proportion to the text (and its sorting),
however it repeats. Chinese and Japanese have no spaces: there each character is a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from resources.splitmix import spread_bits

UInts = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

_PART, _SPACE, _LINE_END, _ALONE, _SENTENCE_END = range(5)
"""Kinds of characters; the last two are words of their own."""

_BASE: Final = np.uint64(0x9E3779B97F4A7C15)
_INVERSE: Final = np.uint64(pow(0x9E3779B97F4A7C15, -1, 1 << 64))
_WINDOW: Final = 32
"""Characters by which a loop without a space is recognised; a shorter period fits in as well."""


@dataclass(frozen=True)
class Repeated:
    """What comes too often: a text that stands for it, and how often it comes."""

    text: str
    count: int


@cache
def _kinds() -> npt.NDArray[np.uint8]:
    """Kind of each code point up to 0xFFFF; the last stands for all above (emoji, rare Han)."""
    kinds = np.full(0x10000, _PART, np.uint8)
    for code in range(0x3100):
        if chr(code).isspace():
            kinds[code] = _SPACE
    kinds[ord("\n")] = _LINE_END
    for first, last in ((0x3001, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
                        (0xF900, 0xFAFF), (0xFF00, 0xFFEF), (0xFFFF, 0xFFFF)):  # fmt: skip
        kinds[first : last + 1] = _ALONE
    kinds[[ord(mark) for mark in "。！？"]] = _SENTENCE_END
    return kinds


class Words:
    """A text cut into words.

    Attributes:
        text: the text itself; `starts` and `ends` count its characters.
        starts, ends: int64, shape (words,).
        hashes: uint64, shape (words,), equal for equal words.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._codes = _code_points(text)
        kinds = _kinds()[self._codes if text.isascii() else np.minimum(self._codes, 0xFFFF)]
        is_part, is_alone = kinds == _PART, kinds >= _ALONE
        joined = is_part[1:] & is_part[:-1]
        starts, ends = is_part | is_alone, is_part | is_alone
        starts[1:] &= ~joined
        ends[:-1] &= ~joined
        self.starts: Ints = np.flatnonzero(starts)
        self.ends: Ints = np.flatnonzero(ends) + 1
        self.hashes = _span_hashes(self._codes, self.starts, self.ends)
        self._kinds = kinds

    def __len__(self) -> int:
        return len(self.starts)

    def sentence_ends(self) -> npt.NDArray[np.bool_]:
        """Whether each word is the last of a sentence or a line."""
        last = self.ends - 1
        ends = self._breaks_after > 0
        ends |= self._kinds[last] == _SENTENCE_END
        is_followed_by_space = np.ones(len(last), bool)
        is_followed_by_space[:-1] = self.starts[1:] > self.ends[:-1]
        codes = self._codes[last]
        is_stop = (codes == ord(".")) | (codes == ord("!")) | (codes == ord("?"))
        return ends | (is_stop & is_followed_by_space)

    def line_ends(self) -> npt.NDArray[np.bool_]:
        """Whether each word is the last of its line."""
        return self._breaks_after > 0

    def paragraph_ends(self) -> npt.NDArray[np.bool_]:
        """Whether each word is the last before an empty line."""
        return self._breaks_after > 1

    @cached_property
    def _breaks_after(self) -> Ints:
        """Line breaks between each word and the next."""
        breaks = np.flatnonzero(self._kinds == _LINE_END)
        words_before = np.searchsorted(self.ends, breaks, side="right")
        return np.bincount(words_before, minlength=len(self) + 1)[1:]

    def only(self, is_kept: npt.NDArray[np.bool_]) -> Words:
        """The same text with some of its words, as if the others were not there."""
        kept = copy(self)
        kept.starts, kept.ends = self.starts[is_kept], self.ends[is_kept]
        kept.hashes = self.hashes[is_kept]
        kept.__dict__.pop("_breaks_after", None)
        return kept

    def slice(self, first: int, end: int) -> str:
        """The text of the words from `first` up to `end`."""
        return self.text[self.starts[first] : self.ends[end - 1]]


def repeated_span(
    words: Words, is_last: npt.NDArray[np.bool_], most_allowed: int, min_words: int
) -> Repeated | None:
    """The paragraph or sentence that comes most often, if more often than allowed.

    Args:
        is_last: whether each word ends a paragraph or sentence, shape (words,).
        min_words: shorter ones are not counted.
    """
    end = np.flatnonzero(is_last) + 1
    if len(words) and not is_last[-1]:
        end = np.append(end, len(words))
    first = np.concatenate([[0], end[:-1]]).astype(np.int64)
    counted = end - first >= min_words
    first, end = first[counted], end[counted]
    if len(first) <= most_allowed:
        return None
    hashes = _span_hashes(words.hashes, first, end)
    if not _any_above(hashes, most_allowed):
        return None
    _, index, counts = np.unique(hashes, return_index=True, return_counts=True)
    most = np.lexsort([index, -counts])[0]
    where = index[most]
    return Repeated(words.slice(int(first[where]), int(end[where])), int(counts[most]))


def repeated_phrase(words: Words, n_words: int, most_allowed: int) -> Repeated | None:
    """The phrase of `n_words` words that comes most often without overlap, if above the limit."""
    best: tuple[int, int] | None = None
    for places in phrases_above(words, n_words, most_allowed):
        count = len(places)
        if best is None or (-count, places[0]) < (-best[0], best[1]):
            best = count, int(places[0])
    return None if best is None else Repeated(words.slice(best[1], best[1] + n_words), best[0])


def phrases_above(words: Words, n_words: int, most_allowed: int) -> Iterator[Ints]:
    """For each phrase that comes more often than allowed, without overlap: its first words."""
    n_phrases = len(words) - n_words + 1
    if n_phrases <= most_allowed:
        return
    first = np.arange(n_phrases)
    hashes = _span_hashes(words.hashes, first, first + n_words)
    if not _any_above(hashes, most_allowed):
        return
    order = np.argsort(hashes, kind="stable")
    bounds = np.append(np.flatnonzero(np.diff(hashes[order], prepend=~hashes[order[0]])), n_phrases)
    for group in np.flatnonzero(np.diff(bounds) > most_allowed):
        places = _without_overlap(order[bounds[group] : bounds[group + 1]], n_words)
        if len(places) > most_allowed:
            yield places


def row_hashes(words: Words) -> tuple[UInts, Ints]:
    """A hash of each line that has words, shape (lines,), and the line of each word."""
    ends = np.flatnonzero(words.line_ends()) + 1
    if not len(ends) or ends[-1] < len(words):
        ends = np.append(ends, len(words))
    first = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    return _span_hashes(words.hashes, first, ends), np.repeat(np.arange(len(ends)), ends - first)


def unbroken_loop(words: Words, most_characters: int) -> Repeated | None:
    """The longest stretch without white space that only repeats itself, if above the limit.

    Its period may be anything up to half of the stretch; the repeated piece is what is shown.
    """
    best: Repeated | None = None
    longest = most_characters
    for word in np.flatnonzero(words.ends - words.starts > most_characters):
        start, end = int(words.starts[word]), int(words.ends[word])
        piece = words.text[start:end]
        length, period, place = _longest_loop(piece)
        if length > longest:
            longest = length
            best = Repeated(piece[place : place + period], length // period)
    return best


def _longest_loop(text: str) -> tuple[int, int, int]:
    """Length, period and place of the longest loop in a text longer than the window."""
    codes = _code_points(text)
    first = np.arange(len(codes) - _WINDOW + 1)
    windows = _span_hashes(codes, first, first + _WINDOW)
    # Inside a loop every window comes again after one period, and not before.
    order = np.argsort(windows, kind="stable")
    is_again = windows[order][1:] == windows[order][:-1]
    distance = np.zeros(len(windows), np.int64)
    distance[order[1:]] = np.where(is_again, np.diff(order), 0)
    changes = np.flatnonzero(np.diff(distance, prepend=-1))
    runs = np.diff(np.append(changes, len(distance)))
    periods = distance[changes]
    lengths = np.where((periods > 0) & (runs >= periods), runs + periods + _WINDOW - 1, 0)
    best = int(lengths.argmax())
    return int(lengths[best]), int(periods[best]), int(changes[best] - periods[best])


def _span_hashes(
    values: UInts | npt.NDArray[np.uint32] | npt.NDArray[np.uint8], first: Ints, end: Ints
) -> UInts:
    """Hashes of runs of values, shape (runs,), equal for equal values in the same order.

    A run's hash is the polynomial in _BASE with its values as coefficients, modulo 2 to the 64th:
    the difference of two prefix sums, so that the length of a run costs nothing.
    """
    powers, inverses = _powers(1 << len(values).bit_length())
    terms = values.astype(np.uint64)
    terms += np.uint64(1)
    terms *= powers[: len(values)]
    sums = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(terms, out=sums[1:])
    between = (sums[end] - sums[first]) * inverses[first]
    return spread_bits(between + (end - first).astype(np.uint64))


@cache
def _powers(n: int) -> tuple[UInts, UInts]:
    """_BASE to the powers from 0 to n - 1, and their inverses."""
    both = []
    for base in (_BASE, _INVERSE):
        powers = np.full(n, base, np.uint64)
        powers[0] = 1
        both.append(np.multiply.accumulate(powers))
    return both[0], both[1]


def _code_points(text: str) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint32]:
    if text.isascii():
        return np.frombuffer(text.encode(), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _any_above(hashes: UInts, most_allowed: int) -> bool:
    """Whether any value comes more often than allowed."""
    ordered = np.sort(hashes)
    return bool((ordered[most_allowed:] == ordered[: len(ordered) - most_allowed]).any())


def _without_overlap(places: Ints, length: int) -> Ints:
    """Those of the sorted places that follow each other at least `length` apart."""
    if (np.diff(places) >= length).all():
        return places
    kept: list[int] = []
    free = 0
    for place in places.tolist():
        if place >= free:
            kept.append(place)
            free = place + length
    return np.array(kept, np.int64)
