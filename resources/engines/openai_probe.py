"""Which logprobs a server returns, found out by asking: no API tells it.

The distribution of the next token is asked for at two temperatures. A server that returns the
model's own logprobs (`raw_logprobs`) gives the same numbers both times.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from resources.engines.openai_answers import logprob_or_nan
from resources.engines.openai_bodies import MalformedAnswerError
from resources.engines.protocol import EngineUnavailableError

TEMPERATURES = (0.5, 2.0)
ALTERNATIVES = 5

MAX_DIFFERENCE = 0.25
"""Between two passes over one prompt, in nats: far above the noise of bfloat16, far below what a
temperature of 2 in place of 0.5 does to any distribution that is not flat."""


Alternatives = dict[str, float]
Take = Callable[[dict[str, Any]], Alternatives]


def check_logprobs_mode(
    body: dict[str, Any], ask: Callable[[dict[str, Any], Take], Alternatives], url: str
) -> None:
    """Ask twice for one token after the prompt of a request.

    A server that returns no alternatives cannot be examined; nothing is concluded from that.

    Args:
        body: a request of the completions or the chat endpoint.
        ask: sends a request and returns what is taken from the choice of its answer.
        url: of the server, for the message.

    Raises:
        EngineUnavailableError: the logprobs depend on the temperature, or are none.
    """
    listing = {"top_logprobs" if "messages" in body else "logprobs": ALTERNATIVES}
    cold, hot = (
        ask(
            {**body, **listing, "max_tokens": 1, "top_p": 1.0, "temperature": temperature},
            alternatives,
        )
        for temperature in TEMPERATURES
    )
    difference = max(
        (abs(cold[token] - hot[token]) for token in cold.keys() & hot.keys()), default=0
    )
    if difference > MAX_DIFFERENCE:
        raise EngineUnavailableError(
            f"{url}: the server's logprobs change with the temperature (by {difference:.2f} "
            f"between T = {TEMPERATURES[0]} and {TEMPERATURES[1]}), but those of the model itself "
            "are needed. "
            "Start vLLM with --logprobs-mode raw_logprobs"
        )
    if sum(math.exp(min(value, 1.0)) for value in cold.values()) > 1.01:
        raise EngineUnavailableError(
            f"{url}: the server's logprobs are none: the probabilities of "
            f"{len(cold)} tokens add up to more than 1. "
            "Start vLLM with --logprobs-mode raw_logprobs"
        )


def alternatives(choice: dict[str, Any]) -> Alternatives:
    """Token -> logprob at the first position, as far as the server tells.

    Raises:
        MalformedAnswerError: they are laid out in another way.
    """
    try:
        logprobs = choice.get("logprobs") or {}
        content = logprobs.get("content")
        if content:
            listed = content[0].get("top_logprobs") or []
            pairs = [(entry.get("token"), entry.get("logprob")) for entry in listed]
        else:
            pairs = list(((logprobs.get("top_logprobs") or [None])[0] or {}).items())
        found = {token: logprob_or_nan(value) for token, value in pairs}
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise MalformedAnswerError(f"logprobs of another layout ({error})") from None
    return {token: value for token, value in found.items() if math.isfinite(value)}
