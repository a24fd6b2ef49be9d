"""Parts of an answer, taken only as what they have to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def checked_text(value: Any) -> str:
    """A text.

    Raises:
        TypeError: it is none, or holds half a character (a lone surrogate), which is no Unicode.
    """
    if not isinstance(value, str):
        raise TypeError(f"a {type(value).__name__} where text is due")
    value.encode()
    return value


def checked_message(message: Any) -> dict[str, Any]:
    """A chat message: what is text in it is text, or left out.

    Raises:
        TypeError: a part is something else.
    """
    if not isinstance(message, dict):
        raise TypeError(f"a {type(message).__name__} where a message is due")
    for part in ("content", "reasoning", "reasoning_content"):
        if message.get(part) is not None:
            checked_text(message[part])
    calls = message.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        raise TypeError("tool_calls that are no list")
    for call in calls or []:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise TypeError("a tool call without function")
        checked_text(function.get("name"))
        checked_text(function.get("arguments"))
    return message


def token_ids(values: Any, vocab_size: int) -> npt.NDArray[np.int32]:
    """Token ids (n,) of a model.

    Raises:
        TypeError: no list of whole numbers.
        ValueError: an id is beyond the model's vocabulary.
    """
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise TypeError("token ids that are no whole numbers")
    if not all(0 <= value < vocab_size for value in values):
        raise ValueError(f"token ids beyond the vocabulary of {vocab_size}")
    return np.array(values, np.int32)
