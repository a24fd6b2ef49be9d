"""Answers in Harmony (gpt-oss): channels of messages, taken apart, and their tokens placed.

What the channels say is read by the maintained Harmony library, and, of the regular text that most
answers are, by a walk over its marks that comes to the same; which of the teacher's own tokens say
it is found by the special tokens around them, and must come to the same bytes.
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
    Span,
    check_known,
    place_tokens,
)
from formats.student_text import part_spans
from formats.token_bytes import TokenBytes

ANALYSIS_OPEN = "<|channel|>analysis<|message|>"
FINAL_OPEN = "<|channel|>final<|message|>"
MESSAGE_END = "<|end|>"
NEXT_MESSAGE = f"{MESSAGE_END}<|start|>assistant"

MARKS = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>")
"""Tokens that a tokenizer needs for the model to write Harmony."""

PARAGRAPH = "\n\n"
_CHANNELS = {"channel|>analysis": "analysis", "channel|>final": "final"}

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
    """What a message says, and the byte at which that begins in what was written."""

    text: str
    begin: int


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
        begins = token_bytes.written_starts(token_ids)
        analysis: list[_Segment] = []
        final: list[_Segment] = []
        for message, (first, end) in zip(messages, runs, strict=True):
            spelled = token_bytes.decode(token_ids[first:end])
            if spelled != message.text.encode():
                raise FormatError(MISMATCH, f"tokens spell {spelled[:80]!r}")
            if not message.recipient and message.text.strip():
                channel = analysis if message.channel == "analysis" else final
                channel.append(_Segment(message.text, int(begins[first])))
        reasoning, answer = (
            PARAGRAPH.join(segment.text.strip() for segment in part) for part in (analysis, final)
        )
        places = [place for place, _ in part_spans(reasoning, answer)]
        spans = [*_spans(analysis, places[0]), *_spans(final, places[1])]
        starts = place_tokens(token_ids, token_bytes, token_bytes.written(token_ids), spans)
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
    if end := _GOES_ON.search(wire_text):
        behind = wire_text[end.end() :][:80]
        raise FormatError(MALFORMED, f"text behind {end[0]}: {behind!r}")
    # Text that was begun may spell marks, or the beginning of one that then ends.
    messages = None if "<" in begun else _walked(mark + begun + wire_text)
    if messages is None:
        messages = _parsed(wire_text, mark, begun)
    _check_places(messages)
    return messages


def _parsed(wire_text: str, mark: str, begun: str) -> list[_Message]:
    """The messages as the library reads them."""
    from openai_harmony import HarmonyError as LibraryError
    from openai_harmony import Role, TextContent

    encoding = _encoding()
    tokens = encoding.encode(wire_text, allowed_special="all")
    if mark:
        begun_tokens = encoding.encode(begun, disallowed_special=())
        tokens = [*encoding.encode(mark, allowed_special="all"), *begun_tokens, *tokens]
    try:
        parsed = encoding.parse_messages_from_completion_tokens(tokens, role=Role.ASSISTANT)
    except LibraryError as error:
        raise FormatError(MALFORMED, str(error)) from error
    return [
        _Message(
            "".join(part.text for part in message.content if isinstance(part, TextContent)),
            message.channel,
            _recipient(message.recipient),
            str(getattr(message.author.role, "value", message.author.role)),
        )
        for message in parsed
    ]


def _check_places(messages: list[_Message]) -> None:
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


def _walked(wire_text: str) -> list[_Message] | None:
    """Messages on the two channels, each with some text and no other mark; None: not such a text.

    Nearly all answers are, and the library takes a hundred times as long, as it encodes the text
    anew.
    """
    begin, *marked = wire_text.split("<|")
    if begin or not marked:
        return None
    messages = []
    pieces = iter(marked)
    for header in pieces:
        channel = _CHANNELS.get(header)
        mark, _, text = next(pieces, "").partition("|>")
        if channel is None or mark != "message" or not text:
            return None
        messages.append(_Message(text, channel, None, "assistant"))
        end = next(pieces, None)
        following = None if end is None else next(pieces, None)
        if following is None:
            return messages if end in (None, "end|>", "return|>") else None
        if (end, following) != ("end|>", "start|>assistant"):
            return None
    return None


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


def _spans(segments: list[_Segment], place: int) -> list[Span]:
    """Where the stripped segments lie, and where they stand as the paragraphs of a part."""
    spans = []
    for segment in segments:
        n_lead = len(segment.text.encode()) - len(segment.text.lstrip().encode())
        begin, n_bytes = segment.begin + n_lead, len(segment.text.strip().encode())
        spans.append(Span(begin, begin + n_bytes, place))
        place += n_bytes + len(PARAGRAPH.encode())
    return spans
