"""Posting a text to a webhook whose URL is a secret: it is in no message, log or exception."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

ATTEMPTS: Final = 3
SECONDS_TO_ANSWER: Final = 5.0
SECONDS_BETWEEN: Final = 1.0
TOO_MANY_REQUESTS: Final = 429
SERVER_ERROR: Final = 500


@dataclass(frozen=True)
class Delivery:
    """What became of a text.

    Attributes:
        problem: why it was not delivered, without the URL; None if it was.
        is_final: another attempt would end the same way.
    """

    problem: str | None = None
    is_final: bool = True


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A text goes to who was named, and to nobody that he names."""

    def redirect_request(self, *given: Any) -> None:
        """None: the redirect is an answer like any other."""


def post(variable: str, text: str, *, seconds_between: float = SECONDS_BETWEEN) -> Delivery:
    """Post `{"text": ...}`, in a few attempts of a few seconds each; raises nothing.

    Args:
        variable: environment variable that holds the URL.
        seconds_between: pause before the second attempt; the next ones double it.
    """
    url = os.environ.get(variable, "").strip()
    if not url:
        return Delivery(f"the environment variable {variable} with the webhook's URL is not set")
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        body = json.dumps({"text": text}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, body, headers) if is_usable else None
    except ValueError:
        request = None
    if request is None:
        return Delivery(f"what the environment variable {variable} holds is no http or https URL")
    delivery = Delivery()
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(seconds_between * 2 ** (attempt - 1))
        delivery = _posted(request, variable)
        if delivery.is_final:
            break
    return delivery


def _posted(request: urllib.request.Request, variable: str) -> Delivery:
    """One attempt."""
    opener = urllib.request.build_opener(_NoRedirects)
    named = f"the webhook of {variable}"
    try:
        with opener.open(request, timeout=SECONDS_TO_ANSWER):
            return Delivery()
    except urllib.error.HTTPError as error:
        error.close()
        is_final = error.code < SERVER_ERROR and error.code != TOO_MANY_REQUESTS
        return Delivery(f"{named} answered {error.code}", is_final)
    except (OSError, http.client.HTTPException, ValueError) as error:
        # Its text may have the URL; its kind has not.
        reason = getattr(error, "reason", error)
        return Delivery(f"{named} cannot be reached: {type(reason).__name__}", is_final=False)
