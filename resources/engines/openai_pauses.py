"""How long a client waits before it asks again."""

from __future__ import annotations

import email.utils
from typing import Any

from resources.engines.settings import ServerSettings

LONGEST_RETRY_AFTER_SECONDS = 3_600.0
"""A server that wants a longer pause fails the step instead; its journal keeps what there is."""


def backoff_seconds(attempt: int, settings: ServerSettings, rng: Any) -> float:
    """Pause after the given failed attempt (1, 2, …): exponential, with full jitter."""
    return float(rng.uniform(0.0, longest_backoff_seconds(attempt, settings)))


def longest_backoff_seconds(attempt: int, settings: ServerSettings) -> float:
    """What the pause after the given failed attempt (1, 2, …) is at most."""
    longest = settings.backoff_seconds * 2.0 ** min(attempt - 1, 60)
    return min(settings.max_backoff_seconds, longest)


def retry_after_seconds(header: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date; None if neither."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - now)
    except (TypeError, ValueError, OverflowError, OSError):  # a year beyond 9999 is a date too
        return None
