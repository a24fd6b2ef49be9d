"""Answers in Harmony (gpt-oss): channels of messages, taken apart, and their tokens placed.

What the channels say is read by the maintained Harmony library; which of the teacher's own tokens
say it is found by the special tokens around them, and must come to the same bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from formats.answer_format import (
    MALFORMED,
    MISMATCH,
    AnswerParts,
    FormatError,
    Pieces,
    check_known,
)
from formats.student_text import TEMPLATE, THINK_CLOSE, THINK_OPEN
from formats.token_bytes import TokenBytes

ANALYSIS_OPEN = "<|channel|>analysis<|message|>"
FINAL_OPEN = "<|channel|>final<|message|>"
MESSAGE_END = "<|end|>"
NEXT_MESSAGE = f"{MESSAGE_END}<|start|>assistant"

MARKS = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>")
"""Tokens that a tokenizer needs for the model to write Harmony."""

PARAGRAPH = "\n\n"

_CONSTRAINT = "<|constrain|>"
_GOES_ON = re.compile(r"<\|(?:return|call)\|>(?=.)", re.DOTALL)
"""A turn's end with text behind it: an engine that did not stop there."""
_HALF_MARK = re.compile(r"<\|end\|>(<\|start\|>(assistant)?(<\|channel\|>(final)?)?)?\Z")
"""The end of a text that was cut between the analysis and the final message."""


class _Message(NamedTuple):
    text: str
    channel: str | None
    recipient: str | None
    role: str


@dataclass(frozen=True)
class _Segment:
    text: str
    first_token: int
    end_token: int


@cache
def _encoding() -> Any:
    from openai_harmony import HarmonyEncodingName, load_harmony_encoding

    return load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)


@dataclass(frozen=True)
class HarmonyFormat:
    """See `formats.answer_format.AnswerFormat`; prompts end with `<|start|>assistant`."""

    name: str = "harmony"
    opened: str = ""

    @property
    def marks(self) -> tuple[str, ...]:
        """Harmony's tokens."""
        return MARKS

    def parse(
        self,
        token_ids: npt.NDArray[np.int32],
        token_bytes: TokenBytes,
        text: str | None = None,
    ) -> AnswerParts:
        """Take one sampled answer apart.

        Nothing that was written is left out: a message of another role, or to nobody on another
        channel than analysis and final, makes the answer malformed.

        Args, Raises: as `AnswerFormat.parse`.
        """
        check_known(token_ids, token_bytes)
        if text is None:
            text = token_bytes.written(token_ids).decode(errors="ignore")
        messages = _messages(text)
        runs = _content_runs(token_ids, token_bytes)
        if len(runs) != len(messages):
            raise FormatError(
                MISMATCH, f"{len(messages)} messages, {len(runs)} runs of content tokens"
            )
        analysis: list[_Segment] = []
        final: list[_Segment] = []
        for message, (first, end) in zip(messages, runs, strict=True):
            spelled = token_bytes.decode(token_ids[first:end])
            if spelled != message.text.encode():
                raise FormatError(MISMATCH, f"tokens spell {spelled[:80]!r}")
            if not message.recipient:
                channel = analysis if message.channel == "analysis" else final
                channel.append(_Segment(message.text, first, end))
        starts = np.full(len(token_ids), TEMPLATE, np.int32)
        # Where there is no analysis, the canonical text has no marks.
        has_reasoning = any(segment.text.strip() for segment in analysis)
        offset = len(THINK_OPEN.encode()) if has_reasoning else 0
        reasoning = _place(analysis, offset, token_ids, token_bytes, starts)
        offset += len(reasoning.encode())
        offset += len(THINK_CLOSE.encode()) if has_reasoning else 0
        answer = _place(final, offset, token_ids, token_bytes, starts)
        return AnswerParts(reasoning, answer, _tool_call(messages), starts)

    def begun(self, text: str, discarded: str = "") -> tuple[str, str | None]:
        """See `AnswerFormat.begun`; what is cut between the two messages has begun the answer."""
        reasoning, mark, answer = text.partition(NEXT_MESSAGE + FINAL_OPEN)
        if mark:
            return _analysis(reasoning).strip(), answer.lstrip()
        if text.startswith(FINAL_OPEN):
            return "", text.removeprefix(FINAL_OPEN).lstrip()
        if half := _HALF_MARK.search(text):
            return _analysis(text[: half.start()]).strip(), ""
        return _analysis(text).lstrip(), None

    def pieces(self, reasoning: str, answer: str | None) -> Pieces:
        """See `AnswerFormat.pieces`."""
        if answer is None:
            return ((ANALYSIS_OPEN, reasoning),)
        if not reasoning:
            return ((FINAL_OPEN, answer),)
        return ((ANALYSIS_OPEN, reasoning), (NEXT_MESSAGE + FINAL_OPEN, answer))

    def continued(
        self,
        reasoning: str,
        answer: str | None,
        token_ids: npt.NDArray[np.int32],
        token_bytes: TokenBytes,
    ) -> tuple[str, str, str | None]:
        """See `AnswerFormat.continued`. What was begun stays text, also where it spells a mark."""
        in_analysis = answer is None
        mark, begun = (ANALYSIS_OPEN, reasoning) if answer is None else (FINAL_OPEN, answer)
        check_known(token_ids, token_bytes)
        text = token_bytes.written(token_ids).decode(errors="replace")
        messages = _messages(text, mark, begun)
        parts: dict[str | None, list[str]] = {"analysis": [], "final": []}
        for message in messages:
            if not message.recipient:
                parts[message.channel].append(message.text.strip())
        more, final = (PARAGRAPH.join(filter(None, parts[one])) for one in ("analysis", "final"))
        return more if in_analysis else reasoning, final, _tool_call(messages)


def _analysis(text: str) -> str:
    """The text of the analysis, of which the opening may be cut or missing."""
    found = text.removeprefix(ANALYSIS_OPEN)
    return "" if ANALYSIS_OPEN.startswith(found) else found


def _tool_call(messages: list[_Message]) -> str | None:
    return next((message.recipient for message in reversed(messages) if message.recipient), None)


def _messages(wire_text: str, mark: str = "", begun: str = "") -> list[_Message]:
    """The messages; the first may have been begun in plain text.

    Raises:
        FormatError: `malformed_answer`: the library cannot read it, or a message has no place.
    """
    from openai_harmony import HarmonyError as LibraryError
    from openai_harmony import Role, TextContent

    if end := _GOES_ON.search(wire_text):
        behind = wire_text[end.end() :][:80]
        raise FormatError(MALFORMED, f"text behind {end[0]}: {behind!r}")
    encoding = _encoding()
    tokens = encoding.encode(wire_text, allowed_special="all")
    if mark:
        begun_tokens = encoding.encode(begun, disallowed_special=())
        tokens = [*encoding.encode(mark, allowed_special="all"), *begun_tokens, *tokens]
    try:
        parsed = encoding.parse_messages_from_completion_tokens(tokens, role=Role.ASSISTANT)
    except LibraryError as error:
        raise FormatError(MALFORMED, str(error)) from error
    messages = [
        _Message(
            "".join(part.text for part in message.content if isinstance(part, TextContent)),
            message.channel,
            _recipient(message.recipient),
            str(getattr(message.author.role, "value", message.author.role)),
        )
        for message in parsed
    ]
    for one in messages:
        if one.role != "assistant":
            raise FormatError(MALFORMED, f"a message of role {one.role}: {one.text[:80]!r}")
        if not one.recipient and one.channel not in ("analysis", "final"):
            raise FormatError(MALFORMED, f"on channel {one.channel}: {one.text[:80]!r}")
    for one, following in pairwise(messages):
        # It has no place in a student's format, and an answer is never edited.
        if one.channel == "final" and following.channel == "analysis":
            raise FormatError(
                MALFORMED, f"analysis behind the final channel: {following.text[:80]!r}"
            )
    return messages


def _recipient(recipient: str | None) -> str | None:
    """Whom a message calls; the library takes a content type without one for a recipient."""
    if recipient == "assistant" or (recipient and recipient.startswith(_CONSTRAINT)):
        return None
    return recipient


def _content_runs(
    token_ids: npt.NDArray[np.int32], token_bytes: TokenBytes
) -> list[tuple[int, int]]:
    """Token spans between each `<|message|>` and the next special token."""
    special = np.flatnonzero(token_bytes.is_special[token_ids])
    ends = np.append(special, len(token_ids))[1:]
    return [
        (place + 1, end)
        for place, end in zip(special.tolist(), ends.tolist(), strict=True)
        if token_ids[place] == token_bytes.id_of("<|message|>")
    ]


def _place(
    segments: list[_Segment],
    offset: int,
    token_ids: npt.NDArray[np.int32],
    token_bytes: TokenBytes,
    starts: npt.NDArray[np.int32],
) -> str:
    """Join the stripped segments and write their tokens' byte starts, counted from `offset`."""
    parts: list[str] = []
    for segment in segments:
        stripped = segment.text.strip()
        if not stripped:
            continue
        if parts:
            offset += len(PARAGRAPH.encode())
        n_lead = len(segment.text[: segment.text.index(stripped[0])].encode())
        n_stripped = len(stripped.encode())
        ids = token_ids[segment.first_token : segment.end_token]
        token_start = token_bytes.token_starts(ids)
        first_byte = np.maximum(token_start + token_bytes.first_nonspace[ids], n_lead)
        inside = (token_start + token_bytes.n_bytes[ids] > n_lead) & (
            first_byte < n_lead + n_stripped
        )
        starts[segment.first_token : segment.end_token] = np.where(
            inside, first_byte - n_lead + offset, TEMPLATE
        )
        parts.append(stripped)
        offset += n_stripped
    return PARAGRAPH.join(parts)
