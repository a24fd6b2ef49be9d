"""What every format of answers offers, and where tokens lie in a response's canonical text.

A format is how a model writes an answer: where its reasoning and its final answer stand, and what
marks them. Teachers and students have one each; what the lake keeps is the same for all
(`formats.student_text`).
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from formats.student_text import TEMPLATE
from formats.token_bytes import TokenBytes

Pieces = tuple[tuple[str, str], ...]
"""(mark, text) one after the other: the mark is the format's, the text was written by somebody."""

MALFORMED, MISMATCH = "malformed_answer", "token_text_mismatch"


class FormatError(ValueError):
    """An answer that cannot be taken apart, with the name of the rule that it breaks."""

    def __init__(self, rule: str, evidence: str) -> None:
        super().__init__(f"{rule}: {evidence}")
        self.rule = rule
        self.evidence = evidence


@dataclass(frozen=True)
class AnswerParts:
    """Reasoning and answer, stripped, empty if not there; token starts as FILTERED_RESPONSES."""

    reasoning: str
    answer: str
    tool_call: str | None
    token_starts: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Span:
    """Bytes of what a model wrote that are a part of a response."""

    begin: int
    end: int
    place: int
    """Byte of the canonical text at which the part stands."""


class AnswerFormat(Protocol):
    """One format; what a model's generation prompt already holds of it is left out."""

    @property
    def name(self) -> str:
        """As it stands in a profile."""
        ...

    @property
    def marks(self) -> tuple[str, ...]:
        """Texts with a meaning of their own: none may stand in a reasoning or an answer."""
        ...

    def parse(
        self,
        token_ids: npt.NDArray[np.int32],
        token_bytes: TokenBytes,
        text: str | None = None,
    ) -> AnswerParts:
        """Take one sampled answer apart.

        Args:
            token_ids: emitted tokens (n,) int32, the end token included.
            token_bytes: byte tables of the model's tokenizer.
            text: what the tokens are said to spell, special tokens included; it is compared.

        Raises:
            FormatError: `malformed_answer` or `token_text_mismatch`, with the evidence.
        """
        ...

    def begun(self, text: str, discarded: str = "") -> tuple[str, str | None]:
        """Reasoning and answer of a text that was cut anywhere; None: the answer has not begun.

        White space at the cut is kept.

        Args:
            text: what is kept.
            discarded: what stood behind it, which tells a cut inside a mark from text like it.
        """
        ...

    def pieces(self, reasoning: str, answer: str | None) -> Pieces:
        """The two parts as the model writes them; without an answer the reasoning stays open.

        Raises:
            FormatError: `no_place_in_format`: the format cannot hold such an answer.
        """
        ...

    def continued(
        self,
        reasoning: str,
        answer: str | None,
        token_ids: npt.NDArray[np.int32],
        token_bytes: TokenBytes,
    ) -> tuple[str, str, str | None]:
        """Reasoning, answer and tool call after a model went on with `pieces(reasoning, answer)`.

        Args:
            token_ids: what it wrote from there on, (n,) int32, the end token included.
            token_bytes: byte tables of its tokenizer.

        Raises:
            FormatError: `malformed_answer`, with the evidence.
        """
        ...


def whole_characters(text_bytes: bytes) -> str:
    """The text of some bytes; a character of which the end is missing is left out.

    Raises:
        UnicodeDecodeError: the bytes before it are no UTF-8.
    """
    return codecs.getincrementaldecoder("utf-8")().decode(text_bytes)


def check_known(token_ids: npt.NDArray[np.int32], token_bytes: TokenBytes) -> None:
    """Refuse token ids that the tokenizer does not have.

    Raises:
        FormatError: `token_text_mismatch`, naming the first.
    """
    unknown = token_ids[(token_ids < 0) | (token_ids >= token_bytes.size)]
    if len(unknown):
        raise FormatError(MISMATCH, f"the tokenizer has no token {unknown[0]}")


def place_tokens(
    token_ids: npt.NDArray[np.int32],
    token_bytes: TokenBytes,
    written: bytes,
    spans: Sequence[Span],
    original: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.int32]:
    """Byte of the canonical text where the first non-space byte of each token lies.

    Args:
        token_ids: tokens (n,) that spell `written`, special tokens by their own text.
        spans: parts of `written`, ascending.
        original: for each byte that the tokens spell the byte of `written` that it comes from;
            None: they are the same.

    Returns:
        int32 (n,); TEMPLATE (-1) for tokens that begin in no part.
    """
    starts = token_bytes.written_starts(token_ids)
    ends = starts + token_bytes.n_written_bytes[token_ids]
    first = starts + token_bytes.first_nonspace[token_ids]
    if original is not None and len(original):
        first = original[np.minimum(first, len(original) - 1)]
        ends = np.append(original, len(written))[ends]
    found = np.full(len(token_ids), TEMPLATE, np.int32)
    for span in spans:
        # A white space that is more than one byte counts as the next word's, like any other.
        lead = len(written[: span.begin].decode(errors="replace").rstrip().encode())
        inside = (ends > span.begin) & (first >= min(lead, span.begin)) & (first < span.end)
        place = np.maximum(first, span.begin) - span.begin + span.place
        found = np.where(inside, place, found).astype(np.int32)
    return found
