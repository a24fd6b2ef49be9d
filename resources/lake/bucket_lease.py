"""One process at a time, of all that share a bucket, does a piece of work: it holds a lease.

Below `_locks/<work>/` the object with the highest number is the holder's. It is made only where
there is none of that number, so that of two that come at once one gets it; then its holder writes
it anew every few seconds. Whoever waits watches it by a clock of its own, as clocks of two machines
are never compared: once it has not changed for LEASE_SECONDS its holder is taken for dead, and the
next number may be made. A holder that was only held up finds that number before it publishes.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from resources.lake.bucket import Bucket
from resources.lake.bucket_errors import ObjectStoreError

LEASE_SECONDS = 60.0
"""Without a sign of its holder a lease ends after so long."""
RENEWALS_IN_A_LEASE = 4
"""A holder may miss a few: the store or the network can be away for a moment."""
SECONDS_BETWEEN_LOOKS = 2.0

_logger = logging.getLogger(__name__)


class LeaseLostError(ObjectStoreError):
    """Another process has taken the lease over; the message says what to do."""


class Lease:
    """What the holder of a lease has of it."""

    def __init__(self, bucket: Bucket, work: str, number: int) -> None:
        self._bucket = bucket
        self._work = work
        self._key = _key(work, number)
        self._holder: dict[str, Any] = {
            "process": f"{socket.gethostname()}:{os.getpid()}",
            "lease_seconds": LEASE_SECONDS,
            "is_free": False,
            "token": uuid.uuid4().hex,
        }

    def was_got(self) -> bool:
        """Try to become the holder; whether this is the holder now."""
        content = self._content()
        self._bucket.create(self._key, content)
        # By what is there, not by the answer: a repeated request finds what the first one made.
        return self._bucket.get(self._key) == content and self._is_newest()

    def require(self) -> None:
        """Go on only as the holder.

        Raises:
            LeaseLostError: another process holds the lease now.
        """
        if not self._is_newest():
            raise LeaseLostError(
                f"{self._bucket.uri}/{self._key}: no sign of this process was seen for "
                f"{self._holder['lease_seconds']:g} s (was its machine asleep, or the store away?),"
                f" and another one does {self._work} now. Run this step again"
            )

    def renew_until(self, ended: threading.Event) -> None:
        """Show every few seconds that the holder lives."""
        renewals = 0
        while not ended.wait(LEASE_SECONDS / RENEWALS_IN_A_LEASE):
            renewals += 1
            try:
                if not self._is_newest():
                    return
                self._bucket.put(self._key, self._content(renewals=renewals))
            except ObjectStoreError as error:
                _logger.warning("the lease of %s could not be renewed: %s", self._work, error)

    def give_back(self) -> None:
        """Let the next one have it at once; where the store is away, when the lease has ended."""
        try:
            if self._is_newest():
                self._bucket.put(self._key, self._content(is_free=True))
        except ObjectStoreError as error:
            _logger.warning("the lease of %s could not be given back: %s", self._work, error)

    def _content(self, **state: Any) -> bytes:
        return json.dumps(self._holder | state).encode()

    def _is_newest(self) -> bool:
        return self._bucket.keys(_folder(self._work))[-1:] == [self._key]


@contextmanager
def leased(bucket: Bucket, work: str, waiting: Callable[[str], None]) -> Iterator[Lease]:
    """Hold a lease while a block lasts; waits as long as another process holds it.

    Args:
        work: what is done under the lease; part of a key.
        waiting: is told once if another process holds it.

    Raises:
        LeaseLostError: at the end, if another process took it over meanwhile.
        ObjectStoreError: the store cannot be asked.
    """
    lease = _got(bucket, work, waiting)
    ended = threading.Event()
    renewing = threading.Thread(target=lease.renew_until, args=(ended,), daemon=True)
    renewing.start()
    try:
        yield lease
        lease.require()
    finally:
        ended.set()
        renewing.join()
        lease.give_back()


def _got(bucket: Bucket, work: str, waiting: Callable[[str], None]) -> Lease:
    """A lease that is held, once whoever held it before has given it back or shows no sign."""
    seen: tuple[int, dict[str, Any]] | None = None
    since, told = 0.0, False
    while True:
        number, holder = now = _newest(bucket, work)
        if now != seen:
            seen, since = now, time.monotonic()
        is_over = time.monotonic() - since >= holder["lease_seconds"]
        if holder["is_free"] or is_over:
            lease = Lease(bucket, work, number + 1)
            if lease.was_got():
                if not holder["is_free"]:
                    waiting(f"progress: {holder['process']} shows no sign; {work} goes on here")
                bucket.delete(bucket.keys(_folder(work))[:-1])
                return lease
        elif not told:
            waiting(
                f"progress: waiting until {holder['process']} has ended {work} "
                f"(it holds {bucket.uri}/{_key(work, number)})"
            )
            told = True
        else:
            time.sleep(SECONDS_BETWEEN_LOOKS)


def _newest(bucket: Bucket, work: str) -> tuple[int, dict[str, Any]]:
    """Number of the newest lease, and what its object says; 0 before the first."""
    while keys := bucket.keys(_folder(work)):
        # It is gone where the next one, whose number is higher, has come since.
        if (content := bucket.get(keys[-1])) is not None:
            return int(keys[-1].removeprefix(_folder(work))), json.loads(content)
    return 0, {"is_free": True, "lease_seconds": LEASE_SECONDS}


def _folder(work: str) -> str:
    return f"_locks/{work}/"


def _key(work: str, number: int) -> str:
    return f"{_folder(work)}{number:012}"
