"""Sentences of responses, as spans of bytes that lose none (docs/provenance.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.divergence_sampling.reasoning_segmenter import ReasoningSegmenter
from formats.student_text import THINK_CLOSE, THINK_OPEN
from resources.lake.table import ContractError

if TYPE_CHECKING:
    from dasd_assets.profile import SegmenterName

Integers = npt.NDArray[np.int64]


class Segmenter(Protocol):
    """Cuts text into sentences; name and version are recorded with what it made.

    It says where sentences end and nothing else, so that no byte can be lost or gained.
    """

    name: str
    version: str

    def ends(self, text: str) -> list[int]:
        """Character positions where sentences end, strictly ascending.

        The last is the length of the text. White space between two sentences belongs to the
        first. Empty text has no sentence.
        """
        ...


def segmenter_named(name: SegmenterName) -> Segmenter:
    """The segmenter of a profile."""
    if name == "sentencex":
        from dasd_assets.divergence_sampling.library_segmenter import SentencexSegmenter

        return SentencexSegmenter()
    return ReasoningSegmenter()


@dataclass(frozen=True)
class SentenceSpans:
    """Sentences of a block of responses, in order.

    The sentences of a part (reasoning, answer) lie side by side and cover it; the template's bytes
    belong to none. Bytes are counted in the response's canonical text.
    """

    response: Integers
    """Per sentence: index of its response."""
    is_answer: npt.NDArray[np.bool_]
    """Per sentence: whether it is in the answer."""
    start: Integers
    """Per sentence: its first byte."""
    end: Integers
    """Per sentence: the byte after it."""
    answer_start: Integers
    """Per response: first byte of the answer."""
    n_text_bytes: Integers
    """Per response: length of the text."""

    @property
    def index(self) -> Integers:
        """0-based position of each sentence in its response."""
        return np.arange(len(self.response)) - np.searchsorted(self.response, self.response)


def sentence_spans(
    response_ids: pa.StringArray,
    reasoning: pa.StringArray,
    answer: pa.StringArray,
    segmenter: Segmenter,
) -> SentenceSpans:
    """Cut both parts of every response.

    Raises:
        ContractError: the segmenter broke its word; the message names it and the response.
    """
    # Part 2 i is the reasoning of response i, part 2 i + 1 its answer.
    n_bytes = _interleaved(_n_bytes(reasoning), _n_bytes(answer))
    in_part: list[int] = []
    counts: list[int] = []
    for texts in zip(reasoning.to_pylist(), answer.to_pylist(), strict=True):
        for text in texts:
            ends = segmenter.ends(text)
            in_part += ends if text.isascii() else byte_ends(text, ends)
            counts.append(len(ends))
    part = np.repeat(np.arange(len(counts)), counts)
    end = np.array(in_part, np.int64)
    start = np.zeros_like(end)
    start[1:] = np.where(part[1:] == part[:-1], end[:-1], 0)
    covered = np.zeros(len(counts), np.int64)
    np.maximum.at(covered, part, end)
    broken = np.concatenate([part[start >= end], np.flatnonzero(covered != n_bytes)])
    if len(broken):
        raise ContractError(
            f"response {response_ids[int(broken[0]) // 2]}: segmenter {segmenter.name} "
            f"{segmenter.version} loses or repeats bytes of its text"
        )
    # A response without a reasoning is its answer alone, without marks.
    has_reasoning = n_bytes[::2] > 0
    offset = np.repeat(np.where(has_reasoning, len(THINK_OPEN.encode()), 0), 2)
    offset[1::2] += np.where(has_reasoning, n_bytes[::2] + len(THINK_CLOSE.encode()), 0)
    return SentenceSpans(
        response=part // 2,
        is_answer=part % 2 == 1,
        start=start + offset[part],
        end=end + offset[part],
        answer_start=offset[1::2],
        n_text_bytes=offset[1::2] + n_bytes[1::2],
    )


def _n_bytes(texts: pa.StringArray) -> Integers:
    lengths: Integers = pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
    return lengths


def _interleaved(first: Integers, second: Integers) -> Integers:
    return np.stack([first, second], axis=1).ravel()


def byte_ends(text: str, ends: list[int]) -> list[int]:
    """The same ends, counted in bytes of UTF-8."""
    raw = np.frombuffer(text.encode(), np.int8)
    starts = np.flatnonzero(raw >= -64)  # bytes 0x80 to 0xBF go on with a character
    found: list[int] = np.append(starts, len(raw))[ends].tolist()
    return found
