"""Several servers with one model: who is asked next, and who is left out for a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from resources.engines.openai_pauses import longest_backoff_seconds
from resources.engines.settings import ServerSettings

_logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Endpoint:
    """One server.

    Attributes:
        under_way: requests that it is working on.
        begun: requests that it was ever sent.
        failures: tries in a row, begun one after the other, that found it dead.
        failed_at: when the last of them was noticed, on the monotonic clock.
        asked_again_at: when it is tried again, with one request.
    """

    url: str
    under_way: int = 0
    begun: int = 0
    failures: int = 0
    failed_at: float = 0.0
    asked_again_at: float = 0.0

    def is_ready(self, now: float) -> bool:
        """Whether it answers, as far as is known, or may be tried by one request."""
        return not self.failures or (now >= self.asked_again_at and not self.under_way)


class Endpoints:
    """The servers that an engine may ask. Not for several threads."""

    def __init__(
        self, settings: ServerSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """All of them are taken to answer."""
        self._settings, self._clock = settings, clock
        self._all = [Endpoint(url) for url in settings.urls]

    @property
    def all(self) -> Sequence[Endpoint]:
        """Those that were not left out for good."""
        return tuple(self._all)

    def choose(self, avoid: Endpoint | None = None) -> Endpoint:
        """The ready server with the fewest requests under way; of like ones the least used.

        Args:
            avoid: taken only if no other is ready: a request just failed there.
        """
        now = self._clock()
        ready = [one for one in self._all if one.is_ready(now)] or self._all
        others = [one for one in ready if one is not avoid] or ready
        return min(others, key=lambda one: (one.under_way, one.begun))

    @contextmanager
    def asking(self, endpoint: Endpoint) -> Iterator[float]:
        """Counts a request as under way; gives the time at which it began."""
        endpoint.under_way += 1
        endpoint.begun += 1
        try:
            yield self._clock()
        finally:
            endpoint.under_way -= 1

    def answered(self, endpoint: Endpoint, began: float) -> None:
        """A request that began then was answered."""
        if began < endpoint.failed_at:  # the answer may have left before the server died
            return
        if endpoint.failures and len(self._all) > 1:
            _logger.info("%s answers again and is used again", endpoint.url)
        endpoint.failures = 0

    def found_dead(self, endpoint: Endpoint, began: float, problem: str) -> bool:
        """A request that began then found the server dead; it rests, longer each time.

        Returns:
            Whether another server is ready, so that the request need not wait.
        """
        now = self._clock()
        # Of many requests that a dying server takes with it only the first is news.
        if began >= endpoint.failed_at:
            endpoint.failures += 1
            endpoint.failed_at = now
            rest = longest_backoff_seconds(endpoint.failures, self._settings)
            endpoint.asked_again_at = now + rest
            if len(self._all) > 1:
                _logger.warning(
                    "%s is left out for %.0f s, its requests go to the other servers: %s",
                    endpoint.url, rest, problem,
                )  # fmt: skip
        return any(one.is_ready(now) for one in self._all if one is not endpoint)

    def leave_out(self, endpoint: Endpoint, problem: str) -> None:
        """Do not ask a server again."""
        _logger.warning("%s is left out until the next step: %s", endpoint.url, problem)
        self._all.remove(endpoint)
