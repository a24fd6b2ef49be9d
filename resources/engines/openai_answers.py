"""What a server answered, as token ids and logprobs of the local tokenizer.

Nothing is made up: tokens that the server does not name are the local tokenization of its text,
and then there are no logprobs; a logprob that it leaves out is NaN. Filtering rejects both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from formats.harmony import ANALYSIS_OPEN, FINAL_OPEN, MESSAGE_END
from formats.student_text import student_text
from formats.token_bytes import TokenBytes
from resources.engines.openai_client import MalformedAnswerError
from resources.engines.protocol import FinishReason

NO_LOGPROB = -9_999.0
"""vLLM writes this in place of a logprob that it does not have or that is minus infinity."""

FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}

_ESCAPED_BYTE = re.compile(r"\\x([0-9a-fA-F]{2})")


@dataclass(frozen=True)
class Emitted:
    """Token ids (n,) int32 and their logprobs (at most n,) float32, NaN where one is missing."""

    token_ids: npt.NDArray[np.int32]
    logprobs: npt.NDArray[np.float32]


def only_choice(answer: Any) -> dict[str, Any]:
    """The one choice of an answer.

    Raises:
        MalformedAnswerError: there is none, or it did not end in a way that ends an answer (a
            server that shuts down aborts its answers).
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise MalformedAnswerError("it has no choices")
    choice: dict[str, Any] = choices[0]
    if choice.get("finish_reason") not in FINISH_REASONS:
        raise MalformedAnswerError(f"it ended with finish_reason {choice.get('finish_reason')!r}")
    return choice


def finish_reason(choice: dict[str, Any]) -> FinishReason:
    """Why the answer ended."""
    return FINISH_REASONS[choice["finish_reason"]]


class AnswerReader:
    """Maps answers to the tokens of one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        """The tokenizer of the model that answers."""
        self._tokenizer = tokenizer
        self._table = TokenBytes(tokenizer)

    def read(self, choice: dict[str, Any]) -> Emitted:
        """Tokens and logprobs of a choice of the completions or the chat endpoint.

        Raises:
            MalformedAnswerError: it does not have the layout of either endpoint.
        """
        try:
            return self._read(choice)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise MalformedAnswerError(f"{type(error).__name__}: {error}") from None

    def _read(self, choice: dict[str, Any]) -> Emitted:
        names, logprobs = _listed(choice.get("logprobs"))
        given = choice.get("token_ids")
        if given is not None:
            return Emitted(_ids(given), logprobs)
        text = choice["text"] if "message" not in choice else self._wire_text(choice["message"])
        named = [self._id_of(name, raw) for name, raw in names]
        if None not in named and self._spell(_ids(named), text):
            return Emitted(_ids(named), logprobs)
        local = self._tokenizer.encode(text, add_special_tokens=False)
        return Emitted(np.asarray(local, np.int32), np.empty(0, np.float32))

    def _wire_text(self, message: dict[str, Any]) -> str:
        """What the model wrote, put together again from the parts of a chat message."""
        content = message.get("content") or ""
        reasoning = message.get("reasoning") or message.get("reasoning_content") or ""
        calls = [call.get("function") or {} for call in message.get("tool_calls") or []]
        if not reasoning and not calls:
            return str(content)
        if self._table.id_of("<|channel|>") is None:
            return student_text(reasoning, content)
        parts = [f"{ANALYSIS_OPEN}{reasoning}{MESSAGE_END}"] if reasoning else []
        parts += [
            f"<|channel|>commentary to=functions.{call.get('name')} <|constrain|>json<|message|>"
            f"{call.get('arguments')}<|call|>"
            for call in calls
        ]
        if content:
            parts.append(f"{FINAL_OPEN}{content}<|return|>")
        return "<|start|>assistant".join(parts)

    @cached_property
    def _id_of_bytes(self) -> dict[bytes, int]:
        """Ordinary tokens by their bytes; the lowest id where two are alike."""
        pieces = ((self._table.decode(np.array([i])), i) for i in range(self._table.size))
        return {piece: i for piece, i in sorted(pieces, key=lambda p: -p[1]) if piece}

    def _id_of(self, name: str, raw: Sequence[int] | None) -> int | None:
        """Id of a token by the name and, where the server gives them, the bytes it has there."""
        if name.startswith("token_id:"):
            return int(name.removeprefix("token_id:"))
        index = self._table.id_of(name)
        if index is not None and self._table.is_special[index]:
            return index
        if raw is None and name.startswith("bytes:"):
            raw = [int(byte, 16) for byte in _ESCAPED_BYTE.findall(name)]
        return self._id_of_bytes.get(name.encode() if raw is None else bytes(raw))

    @cached_property
    def _special(self) -> re.Pattern[str]:
        tokens = self._tokenizer.added_tokens_decoder.values()
        return re.compile("|".join(re.escape(t.content) for t in tokens if t.special) or "(?!)")

    def _spell(self, token_ids: npt.NDArray[np.int32], text: str) -> bool:
        """Whether the tokens spell the whole text, special tokens aside."""
        known = bool((token_ids < self._table.size).all())
        return known and self._table.decode(token_ids) == self._special.sub("", text).encode()


def _listed(
    logprobs: Any,
) -> tuple[list[tuple[str, Sequence[int] | None]], npt.NDArray[np.float32]]:
    """((name, bytes) of each token, logprobs) in the layout of either endpoint."""
    if not isinstance(logprobs, dict):
        return [], np.empty(0, np.float32)
    content = logprobs.get("content")
    if content is not None:
        names = [(entry["token"], entry.get("bytes")) for entry in content]
        values = [entry.get("logprob") for entry in content]
    else:
        names = [(token, None) for token in logprobs.get("tokens") or []]
        values = logprobs.get("token_logprobs") or []
    return names, np.array([logprob_or_nan(value) for value in values], np.float32)


def logprob_or_nan(value: Any) -> float:
    """A logprob as the server gave it; NaN if it gave none."""
    return float(value) if isinstance(value, int | float) and value > NO_LOGPROB else float("nan")


def _ids(values: Sequence[Any]) -> npt.NDArray[np.int32]:
    if not all(isinstance(value, int) and 0 <= value < 2**31 for value in values):
        raise ValueError("token ids that are none")
    return np.array(values, np.int32)
