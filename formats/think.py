"""Answers that think between two marks of text: `<think>`, the reasoning, `</think>`, the answer.

The marks may be tokens of their own or plain text, special or not; the chat template may open the
thinking part in the generation prompt, or open and close it there. Two formats are this one with
less: `split`, whose marks are put in from the two fields of a server's answer, and `plain`, which
never thinks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from formats.answer_format import (
    MALFORMED,
    MISMATCH,
    AnswerParts,
    FormatError,
    Pieces,
    Span,
    check_known,
    place_tokens,
    whole_characters,
)
from formats.student_text import TEMPLATE, THINK_CLOSE, THINK_OPEN, part_spans
from formats.token_bytes import TokenBytes

KNOWN_MARKS = ((THINK_OPEN, THINK_CLOSE), ("[THINK]", "[/THINK]"))
"""Pairs of marks that are looked for in a chat template, with the white space that goes with
them."""

TOOL_CALLS = ("<tool_call>", "<｜tool▁calls▁begin｜>", "[TOOL_CALLS]")
"""How models begin to call a tool; it is text to us, and no student of ours has tools."""


@dataclass(frozen=True)
class ThinkFormat:
    """See `formats.answer_format.AnswerFormat`."""

    open_mark: str = THINK_OPEN
    close_mark: str = THINK_CLOSE
    opened: str = ""
    """What the generation prompt ends with of this format."""
    name: Literal["think", "split", "plain"] = "think"

    @property
    def marks(self) -> tuple[str, ...]:
        """The two marks without white space."""
        return (self.open_mark.strip(), self.close_mark.strip())

    @property
    def _is_open(self) -> bool:
        return bool(self.opened) and not self._never_thinks

    @property
    def _never_thinks(self) -> bool:
        return self.name == "plain" or self.marks[1] in self.opened

    def parse(
        self,
        token_ids: npt.NDArray[np.int32],
        token_bytes: TokenBytes,
        text: str | None = None,
    ) -> AnswerParts:
        """Take one sampled answer apart.

        Text without any mark is all reasoning where the prompt has begun the thinking; elsewhere
        it is all answer: the model did not think first.

        Args, Raises: as `AnswerFormat.parse`.
        """
        emitted, written, body = self._emitted(token_ids, token_bytes)
        if text is not None and not text.startswith(body):
            raise FormatError(MISMATCH, f"tokens spell {body[:80]!r}")
        where = self._parts(body)
        reasoning, answer = (body[first:after] for first, after in where)
        spans = [
            Span(len(body[:first].encode()), len(body[:after].encode()), place)
            for (first, after), (place, _) in zip(where, part_spans(reasoning, answer), strict=True)
        ]
        starts = np.full(len(token_ids), TEMPLATE, np.int32)
        starts[: len(emitted)] = place_tokens(emitted, token_bytes, written, spans)
        return AnswerParts(reasoning, answer, _tool_call(answer), starts)

    def begun(self, text: str, discarded: str = "") -> tuple[str, str | None]:
        """See `AnswerFormat.begun`; a closing mark that the cut is in is made whole."""
        open_mark, close_mark = self.marks
        if self._never_thinks:
            return "", text.lstrip()
        text = self._without_half_mark(text, discarded).lstrip()
        reasoning, mark, answer = text.removeprefix(open_mark).partition(close_mark)
        if mark:
            return reasoning.strip(), answer.lstrip()
        if text and not text.startswith(open_mark) and not self._is_open:
            return "", text
        return reasoning.lstrip(), None

    def pieces(self, reasoning: str, answer: str | None) -> Pieces:
        """See `AnswerFormat.pieces`."""
        if self._never_thinks:
            if reasoning:
                raise FormatError(
                    "no_place_in_format",
                    f"format {self.name}, generation prompt opens {self.opened!r}: it has no "
                    "place for a reasoning",
                )
            return (("", answer or ""),)
        if not reasoning and answer is not None and not self._is_open:
            return (("", answer),)
        first = self.open_mark
        if self._is_open:
            # White space that the prompt has beyond the mark's own counts as the mark's.
            first = first.removeprefix(self.opened) if first.startswith(self.opened) else ""
        opening = (first, reasoning)
        return (opening,) if answer is None else (opening, (self.close_mark, answer))

    def continued(
        self,
        reasoning: str,
        answer: str | None,
        token_ids: npt.NDArray[np.int32],
        token_bytes: TokenBytes,
    ) -> tuple[str, str, str | None]:
        """See `AnswerFormat.continued`; what was begun stays text."""
        more = self._emitted(token_ids, token_bytes)[2]
        if answer is None:
            of_reasoning, _, answer = more.partition(self.marks[1])
            reasoning += of_reasoning
        else:
            answer += more
        return reasoning.strip(), answer.strip(), _tool_call(answer)

    def _emitted(
        self, token_ids: npt.NDArray[np.int32], token_bytes: TokenBytes
    ) -> tuple[npt.NDArray[np.int32], bytes, str]:
        """The tokens before the end tokens, what they spell, and its text.

        Half a character at the end is left out of the text.

        Raises:
            FormatError: `malformed_answer` or `token_text_mismatch`.
        """
        check_known(token_ids, token_bytes)
        emitted = token_ids[: self._n_emitted(token_ids, token_bytes)]
        written = token_bytes.written(emitted)
        try:
            return emitted, written, whole_characters(written)
        except UnicodeDecodeError as error:
            raise FormatError(MISMATCH, f"no UTF-8 at byte {error.start}") from None

    def _n_emitted(self, token_ids: npt.NDArray[np.int32], token_bytes: TokenBytes) -> int:
        """Tokens before the end tokens.

        Raises:
            FormatError: a special token that is no mark stands among them.
        """
        special = np.flatnonzero(token_bytes.is_special[token_ids])
        named = [
            int(place)
            for place in special
            if token_bytes.written(token_ids[place : place + 1]).decode() not in self.marks
        ]
        n_emitted = len(token_ids)
        while named and named[-1] == n_emitted - 1:
            n_emitted = named.pop()
        if named:
            mark = token_bytes.written(token_ids[named[0] : named[0] + 1]).decode()
            raise FormatError(MALFORMED, f"special token {mark} at {named[0]}")
        return n_emitted

    def _parts(self, body: str) -> tuple[tuple[int, int], tuple[int, int]]:
        """Characters of the reasoning and of the answer, without outer white space."""
        open_mark, close_mark = self.marks
        first = len(body) - len(body.lstrip())
        has_opened = body.startswith(open_mark, first)
        close = -1 if self._never_thinks else body.find(close_mark)
        after_open = first + len(open_mark) if has_opened and not self._never_thinks else 0
        nothing = (0, 0)
        if close >= 0:
            reasoning = _stripped(body, min(after_open, close), close)
            return reasoning, _stripped(body, close + len(close_mark), len(body))
        if (has_opened or self._is_open) and not self._never_thinks:
            return _stripped(body, after_open, len(body)), nothing
        return nothing, _stripped(body, 0, len(body))

    def _without_half_mark(self, kept: str, discarded: str) -> str:
        """The kept text without a mark's beginning at its end; a closing mark is made whole.

        A mark is one token to most models, and its characters are plain text to none.
        """
        open_mark, close_mark = self.marks
        text = kept + discarded
        start = len(text) - len(text.lstrip())
        if text.startswith(open_mark, start) and len(kept) < start + len(open_mark):
            return ""
        start = text.find(close_mark)
        end = start + len(close_mark)
        return text[:end] if 0 <= start < len(kept) < end else kept


def opened_by(prompt: str, marks: tuple[str, str]) -> str:
    """What a generation prompt ends with of a thinking part: opened, opened and closed, or "".

    Args:
        marks: the two marks without white space.
    """
    open_mark, close_mark = map(re.escape, marks)
    found = re.search(rf"{open_mark}\s*({close_mark}\s*)?\Z", prompt)
    return found[0] if found else ""


def _tool_call(answer: str) -> str | None:
    return next((mark for mark in TOOL_CALLS if mark in answer), None)


def _stripped(body: str, first: int, end: int) -> tuple[int, int]:
    text = body[first:end]
    lead = len(text) - len(text.lstrip())
    return (first + lead, first + lead + len(text.strip()))
