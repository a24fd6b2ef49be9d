"""The teacher's Harmony text taken apart, and its tokens placed in the student's text.

What the channels say is read by the maintained Harmony library; which of the teacher's own tokens
say it is found by the special tokens around them, and must come to the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from formats.student_text import TEMPLATE, THINK_CLOSE, THINK_OPEN
from formats.token_bytes import TokenBytes

ANALYSIS_OPEN = "<|channel|>analysis<|message|>"
FINAL_OPEN = "<|channel|>final<|message|>"
MESSAGE_END = "<|end|>"
NEXT_MESSAGE = f"{MESSAGE_END}<|start|>assistant"

MARKS = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>")
"""Tokens that a tokenizer needs for the model to write Harmony."""

PARAGRAPH = "\n\n"


class HarmonyError(ValueError):
    """Text that is not well-formed Harmony, or whose tokens do not spell it."""

    def __init__(self, rule: str, evidence: str) -> None:
        super().__init__(f"{rule}: {evidence}")
        self.rule = rule
        self.evidence = evidence


@dataclass(frozen=True)
class HarmonyAnswer:
    """Analysis and final channel, stripped; `token_starts` as in FILTERED_RESPONSES."""

    reasoning: str
    answer: str
    tool_call: str | None
    token_starts: npt.NDArray[np.int32]


@dataclass(frozen=True)
class _Segment:
    text: str
    first_token: int
    end_token: int


@cache
def _encoding() -> Any:
    from openai_harmony import HarmonyEncodingName, load_harmony_encoding

    return load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)


def parse_harmony(
    token_ids: npt.NDArray[np.int32], wire_text: str, token_bytes: TokenBytes
) -> HarmonyAnswer:
    """Take one sampled answer apart.

    Args:
        token_ids: emitted tokens; they follow a prompt that ends with `<|start|>assistant`.
        wire_text: the same tokens decoded, special tokens included.
        token_bytes: byte tables of the teacher's tokenizer.

    Raises:
        HarmonyError: `malformed_harmony` or `token_text_mismatch`, with the evidence.
    """
    unknown = token_ids[(token_ids < 0) | (token_ids >= token_bytes.size)]
    if len(unknown):
        raise HarmonyError("token_text_mismatch", f"the tokenizer has no token {unknown[0]}")
    messages = _messages(wire_text)
    runs = _content_runs(token_ids, token_bytes)
    if len(runs) != len(messages):
        raise HarmonyError(
            "token_text_mismatch", f"{len(messages)} messages, {len(runs)} runs of content tokens"
        )
    analysis: list[_Segment] = []
    final: list[_Segment] = []
    tool_call = None
    for (text, channel, recipient), (first, end) in zip(messages, runs, strict=True):
        spelled = token_bytes.decode(token_ids[first:end])
        if spelled != text.encode():
            raise HarmonyError("token_text_mismatch", f"tokens spell {spelled[:80]!r}")
        if _is_tool(recipient):
            tool_call = recipient
        elif channel == "analysis":
            analysis.append(_Segment(text, first, end))
        elif channel == "final":
            final.append(_Segment(text, first, end))
    starts = np.full(len(token_ids), TEMPLATE, np.int32)
    offset = len(THINK_OPEN.encode())
    reasoning = _place(analysis, offset, token_ids, token_bytes, starts)
    offset += len(reasoning.encode()) + len(THINK_CLOSE.encode())
    answer = _place(final, offset, token_ids, token_bytes, starts)
    return HarmonyAnswer(reasoning, answer, tool_call, starts)


def continued_parts(mark: str, begun: str, wire_text: str) -> tuple[str, str, str | None]:
    """Reasoning, answer and tool call of Harmony text that goes on with a message begun by others.

    Args:
        mark: Harmony's opening of the message.
        begun: the message so far. It is text: what spells a special token in it stays text.
        wire_text: the teacher's Harmony text from there on.

    Raises:
        HarmonyError: `malformed_harmony`, with the evidence.
    """
    analysis, final, tool_call = [], [], None
    for text, channel, recipient in _messages(wire_text, mark, begun):
        if _is_tool(recipient):
            tool_call = recipient
        elif channel == "analysis":
            analysis.append(text.strip())
        elif channel == "final":
            final.append(text.strip())
    return PARAGRAPH.join(filter(None, analysis)), PARAGRAPH.join(filter(None, final)), tool_call


def _is_tool(recipient: str | None) -> bool:
    return recipient is not None and recipient != "assistant"


def _messages(
    wire_text: str, mark: str = "", begun: str = ""
) -> list[tuple[str, str | None, str | None]]:
    """(text, channel, recipient) of each message; the first may have been begun in plain text."""
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
        raise HarmonyError("malformed_harmony", str(error)) from error
    return [
        (
            "".join(part.text for part in message.content if isinstance(part, TextContent)),
            message.channel,
            message.recipient,
        )
        for message in parsed
    ]


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
