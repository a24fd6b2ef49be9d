"""The likeliest tokens at each position, as servers list them beside the emitted one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from resources.engines.openai_shapes import checked_text
from resources.engines.protocol import NO_LOGPROB, ROUNDING, UNKNOWN_TOKEN, TopLogprobs

IdOf = Callable[[str, Sequence[int] | None], int | None]
"""Id of a token by its name and, where the server gives them, its bytes; None if there is none."""


def listed_top(
    logprobs: Any, known: npt.NDArray[np.bool_], k: int, id_of: IdOf, vocab_size: int
) -> TopLogprobs:
    """The k likeliest tokens of each position.

    A server may list one more than k: the emitted token beside the likeliest. Of a position whose
    emitted token has no logprob, nothing is known.

    Args:
        logprobs: of a choice of the completions or the chat endpoint.
        known: whether the emitted token of each position has a logprob.

    Raises:
        TypeError, ValueError: more or fewer tokens at a position; a logprob that is no number, not
            finite or above 0; an id beyond the vocabulary.
    """
    listed = _lists(logprobs)
    if len(listed) < len(known):
        raise ValueError(
            f"the likeliest tokens of {len(listed)} tokens, of {len(known)} they were asked for"
        )
    ids = np.full((len(known), k + 1), UNKNOWN_TOKEN, np.int64)
    values = np.full(ids.shape, -np.inf)
    for position in np.flatnonzero(known).tolist():
        found = listed[position]
        if not k <= len(found) <= k + 1:
            raise ValueError(f"{len(found)} likely tokens at token {position}, not {k}")
        named = [id_of(name, raw) for name, raw, _ in found]
        ids[position, : len(found)] = [UNKNOWN_TOKEN if i is None else i for i in named]
        values[position, : len(found)] = [_number(value) for _, _, value in found]
    if ((ids < UNKNOWN_TOKEN) | (ids >= vocab_size)).any():
        raise ValueError(f"a likely token beyond the vocabulary of {vocab_size}")
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]
    top = np.take_along_axis(values, order, axis=1)
    top[~known] = np.nan
    return TopLogprobs(np.take_along_axis(ids, order, axis=1).astype(np.int32), top.astype("f4"))


def _lists(logprobs: Any) -> list[list[tuple[str, Any, Any]]]:
    """(name, bytes, logprob) of the tokens that are listed at each position."""
    if not isinstance(logprobs, dict):
        return []
    content = logprobs.get("content")
    if content is not None:
        return [
            [
                (checked_text(one["token"]), _bytes(one.get("bytes")), one.get("logprob"))
                for one in entry.get("top_logprobs") or []
            ]
            for entry in content
        ]
    return [
        [(checked_text(name), None, value) for name, value in (listed or {}).items()]
        for listed in logprobs.get("top_logprobs") or []
    ]


def _bytes(value: Any) -> Any:
    if not isinstance(value, list | None):
        raise TypeError("bytes that are no list")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"a {type(value).__name__} as the logprob of a likely token")
    # Compared as it is: a whole number of 400 digits is no float.
    if not NO_LOGPROB < value <= ROUNDING:
        raise ValueError(f"{str(value)[:20]} as the logprob of a likely token")
    return float(value)
