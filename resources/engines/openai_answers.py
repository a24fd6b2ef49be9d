"""What a server answered, as token ids and logprobs of the local tokenizer.

Nothing is made up: tokens that the server does not name are the local tokenization of its text,
and then there are no logprobs; a logprob that it leaves out is NaN. Filtering rejects both, but for
servers that tell logprobs of the content only (format `split`): there the reasoning's are NaN.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from formats.encoding import encode_texts
from formats.harmony import NEXT_MESSAGE
from formats.model_format import ModelFormat
from formats.token_bytes import TokenBytes
from resources.engines.openai_bodies import MalformedAnswerError
from resources.engines.openai_shapes import checked_message, checked_text, token_ids
from resources.engines.openai_top import listed_top
from resources.engines.protocol import (
    NO_LOGPROB,
    NO_TOP,
    EngineUnavailableError,
    FinishReason,
    TopLogprobs,
)

LARGEST_NUMBER = 1e30
"""Above it there are no logits either, which a server that is set up wrongly may send."""

FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    # Other servers' words for the same.
    **dict.fromkeys(
        ("eos", "eos_token", "eos_token_id", "end_turn", "end_of_text", "stop_sequence", "complete",
         "completed", "finished"),
        "stop",
    ),
    **dict.fromkeys(("max_tokens", "max_length", "model_length", "token_limit"), "length"),
    **dict.fromkeys(("tool_call", "tool_use"), "tool_calls"),
    **dict.fromkeys(
        ("content_filtered", "safety", "refusal", "recitation", "blocklist", "prohibited_content"),
        "content_filter",
    ),
}  # fmt: skip
"""Word of a server, in lower case -> why an answer ended."""

UNFINISHED = frozenset({"", "abort", "aborted", "cancel", "cancelled", "canceled", "error"})
"""Words for an answer that did not end: the server shuts down, or gave up. It is asked again."""

MARKS = 64
"""Tokens that a text may have beyond those asked for: marks that are put between its parts here."""

_ESCAPED_BYTE = re.compile(r"\\x([0-9a-fA-F]{2})")


@dataclass(frozen=True)
class Emitted:
    """Token ids (n,) int32 and their logprobs (at most n,) float32, NaN where one is missing."""

    token_ids: npt.NDArray[np.int32]
    logprobs: npt.NDArray[np.float32]
    top: TopLogprobs = NO_TOP


class UnknownFinishReasonError(EngineUnavailableError):
    """A server ends its answers by a word whose meaning is not known here."""


def only_choice(answer: Any, clean: Callable[[str], str] = str) -> dict[str, Any]:
    """The one choice of an answer.

    Args:
        clean: makes text of the server fit to be shown.

    Raises:
        MalformedAnswerError: there is none, or it did not end in a way that ends an answer (a
            server that shuts down aborts its answers).
        UnknownFinishReasonError: it ended by a word that is not known. To ask again would buy the
            same answer once more.
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise MalformedAnswerError("it has no choices")
    choice: dict[str, Any] = choices[0]
    word = choice.get("finish_reason")
    if not isinstance(word, str) or word.lower() in UNFINISHED:
        shown = repr(word) if word is None or isinstance(word, str) else type(word).__name__
        raise MalformedAnswerError(f"it ended with finish_reason {shown}")
    if word.lower() not in FINISH_REASONS:
        raise UnknownFinishReasonError(
            f"the server ended an answer with finish_reason {clean(repr(word))}, which is none of "
            f"{', '.join(FINISH_REASONS)}: whether the answer is whole is not known, and nothing "
            "more was asked. Set the server up to end answers with stop or length"
        )
    return choice


def finish_reason(choice: dict[str, Any]) -> FinishReason:
    """Why the answer ended."""
    return FINISH_REASONS[choice["finish_reason"].lower()]


class AnswerReader:
    """Maps answers to the tokens of one tokenizer."""

    def __init__(self, tokenizer: Any, vocab_size: int) -> None:
        """The tokenizer of the model that answers, and the ids that the model can emit."""
        self._tokenizer = tokenizer
        self._table = TokenBytes(tokenizer)
        self._vocab_size = vocab_size

    def read(
        self,
        choice: dict[str, Any],
        max_tokens: int,
        written: ModelFormat,
        prompt: Sequence[int] | None = None,
        top_logprobs: int = 0,
    ) -> Emitted:
        """Tokens and logprobs of a choice of the completions or the chat endpoint.

        Args:
            max_tokens: that were asked for.
            written: how the model writes; the parts of a chat message are put together so.
            prompt: tokens that were sent; None: the server renders the prompt itself.
            top_logprobs: how many of the likeliest tokens were asked for at each position.

        Raises:
            MalformedAnswerError: it does not have the layout of either endpoint, has more tokens
                than were asked for or ids beyond the vocabulary, or answers another prompt; or its
                likeliest tokens are not as many as were asked for.
        """
        asked = choice.get("prompt_token_ids")
        if prompt is not None and asked is not None and asked != list(prompt):
            raise MalformedAnswerError("it answers another prompt (prompt_token_ids)")
        try:
            emitted = self._read(choice, max_tokens, written)
            return self._with_top(choice, emitted, top_logprobs) if top_logprobs else emitted
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise MalformedAnswerError(f"{type(error).__name__}: {error}") from None

    def _read(self, choice: dict[str, Any], max_tokens: int, written: ModelFormat) -> Emitted:
        names, logprobs = _listed(choice.get("logprobs"))
        given = choice.get("token_ids")
        if given is not None:
            ids = token_ids(given, self._vocab_size)
            return _emitted(ids, logprobs, max_tokens)
        message = checked_message(choice["message"]) if "message" in choice else None
        text = checked_text(choice["text"]) if message is None else _whole_text(message, written)
        named = [self._id_of(name, raw) for name, raw in names]
        if None not in named:
            ids = token_ids(named, self._vocab_size)
            if self._spell(ids, text) or (message and self._spell_both(ids, message)):
                return _emitted(ids, logprobs, max_tokens)
            if message and _reasoning(message) and self._spell(ids, message.get("content") or ""):
                return self._content_only(ids, logprobs, max_tokens, message, written)
        if len(text.encode()) > (max_tokens + MARKS) * self._longest_token:
            raise ValueError(f"a text of {len(text)} characters, longer than {max_tokens} tokens")
        local = self._tokenizer.encode(text, add_special_tokens=False)
        return Emitted(np.asarray(local, np.int32), np.empty(0, np.float32))

    def _with_top(self, choice: dict[str, Any], emitted: Emitted, k: int) -> Emitted:
        """The same with the likeliest tokens of those of which the server told logprobs."""
        n_tokens, known = len(emitted.token_ids), np.isfinite(emitted.logprobs)
        # Of a message whose reasoning has none, those of the content are listed.
        n_untold = len(known) - len(_listed(choice.get("logprobs"))[1]) if len(known) else 0
        listed = choice.get("logprobs")
        found = listed_top(listed, known[n_untold:], k, self._id_of, self._vocab_size)
        top = TopLogprobs.unknown(n_tokens, k)
        top.token_ids[n_untold : len(known)] = found.token_ids
        top.logprobs[n_untold : len(known)] = found.logprobs
        return replace(emitted, top=top)

    def _spell_both(self, ids: npt.NDArray[np.int32], message: dict[str, Any]) -> bool:
        """Whether the tokens spell both parts of a message, the content last, with marks between.

        The server has taken the marks of the model's format away.
        """
        reasoning, content = _reasoning(message).strip(), (message.get("content") or "").strip()
        spelled = self._table.decode(ids).decode(errors="replace").rstrip()
        return bool(reasoning) and spelled.endswith(content) and (
            reasoning in spelled[: len(spelled) - len(content)]
        )  # fmt: skip

    def _content_only(
        self,
        ids: npt.NDArray[np.int32],
        logprobs: npt.NDArray[np.float32],
        max_tokens: int,
        message: dict[str, Any],
        written: ModelFormat,
    ) -> Emitted:
        """A message whose reasoning has no logprobs: NaN for its tokens."""
        before = "".join(map("".join, written.format.pieces(_reasoning(message).strip(), "")))
        own = np.asarray(encode_texts(self._tokenizer, [before])[0], np.int32)
        return _emitted(
            np.concatenate([own, ids]),
            np.concatenate([np.full(len(own), np.nan, np.float32), logprobs]),
            max_tokens + MARKS,
        )

    @cached_property
    def _id_of_bytes(self) -> dict[bytes, int]:
        """Ordinary tokens by their bytes; the lowest id where two are alike."""
        pieces, ordinary = self._table.pieces, np.flatnonzero(~self._table.is_special)
        return {pieces[i]: i for i in reversed(ordinary.tolist()) if pieces[i]}

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
    def _longest_token(self) -> int:
        """Bytes of the longest token."""
        special = max((len(t) for t in self._tokenizer.all_special_tokens), default=1)
        return max(special, int(self._table.n_bytes.max()))

    @cached_property
    def _special(self) -> re.Pattern[str]:
        tokens = self._tokenizer.added_tokens_decoder.values()
        return re.compile("|".join(re.escape(t.content) for t in tokens if t.special) or "(?!)")

    def _spell(self, token_ids: npt.NDArray[np.int32], text: str) -> bool:
        """Whether the tokens spell the whole text, special tokens aside."""
        known = bool((token_ids < self._table.size).all())
        return known and self._table.decode(token_ids) == self._special.sub("", text).encode()


def _reasoning(message: dict[str, Any]) -> str:
    return message.get("reasoning") or message.get("reasoning_content") or ""


def _whole_text(message: dict[str, Any], written: ModelFormat) -> str:
    """What the model wrote, put together again from the parts of a chat message."""
    content, reasoning = message.get("content") or "", _reasoning(message)
    calls = [call.get("function") or {} for call in message.get("tool_calls") or []]
    if not reasoning and not calls:
        return content
    text = ""
    if reasoning or content:
        text = "".join(map("".join, written.format.pieces(reasoning, content or None)))
    for call in calls:
        if written.format.name == "harmony":
            text += NEXT_MESSAGE if text else ""
            text += f"<|channel|>commentary to=functions.{call.get('name')} "
            text += f"<|constrain|>json<|message|>{call.get('arguments')}<|call|>"
        else:
            text += f"<tool_call>{call.get('name')}</tool_call>"
    return text


def _emitted(
    ids: npt.NDArray[np.int32], logprobs: npt.NDArray[np.float32], max_tokens: int
) -> Emitted:
    if len(ids) > max_tokens:
        raise ValueError(f"{len(ids)} tokens, {max_tokens} were asked for")
    if len(logprobs) > len(ids):
        raise ValueError(f"{len(logprobs)} logprobs for {len(ids)} tokens")
    return Emitted(ids, logprobs)


def _listed(
    logprobs: Any,
) -> tuple[list[tuple[str, Sequence[int] | None]], npt.NDArray[np.float32]]:
    """((name, bytes) of each token, logprobs) in the layout of either endpoint."""
    if not isinstance(logprobs, dict):
        return [], np.empty(0, np.float32)
    content = logprobs.get("content")
    if content is not None:
        names = [(checked_text(entry["token"]), entry.get("bytes")) for entry in content]
        values = [entry.get("logprob") for entry in content]
    else:
        names = [(checked_text(token), None) for token in logprobs.get("tokens") or []]
        values = logprobs.get("token_logprobs") or []
    if not isinstance(values, list) or not all(isinstance(raw, list | None) for _, raw in names):
        raise TypeError("logprobs or bytes that are no list")
    return names, np.array([logprob_or_nan(value) for value in values], np.float32)


def logprob_or_nan(value: Any) -> float:
    """A logprob as the server gave it; NaN if it gave none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return float("nan")
    # Compared as it is: a whole number of 400 digits is no float.
    return float(value) if NO_LOGPROB < value < LARGEST_NUMBER else float("nan")
