"""HTTP to an OpenAI-compatible server: retries, deadlines, bounded concurrency, no leaked key."""

from __future__ import annotations

import asyncio
import email.utils
import logging
import os
import queue
import random
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

import httpx

from resources.engines.protocol import EngineUnavailableError
from resources.engines.settings import ServerSettings

T = TypeVar("T")
Item = TypeVar("Item")

RETRIED = frozenset({408, 409, 425, 429})
"""Statuses below 500 that may pass."""

LONGEST_RETRY_AFTER_SECONDS = 3_600.0
"""A server that wants a longer pause fails the step instead; its journal keeps what there is."""

MAX_BODY_CHARACTERS = 300
CLOSE_SECONDS = 10.0


class RequestFailedError(RuntimeError):
    """A request that was refused, or that failed at every attempt."""


class MalformedAnswerError(ValueError):
    """An answer that is no answer, for example a body that was cut off. It is asked again."""


class ApiClient:
    """Sends requests from an event loop in its own thread, so that callers stay plain code."""

    def __init__(self, settings: ServerSettings) -> None:
        """Nothing is sent yet.

        Raises:
            EngineUnavailableError: the environment variable with the API key is not set.
        """
        # They log a line for each request, and at DEBUG the headers of each answer.
        for logger in ("httpx", "httpcore"):
            logging.getLogger(logger).setLevel(logging.WARNING)
        self._settings = settings
        self._key = _api_key(settings.api_key_env)
        self.url = settings.base_url.rstrip("/")
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._http = httpx.AsyncClient(
            headers=headers,
            timeout=None,  # httpx counts each read; the deadline of `_send` is for the whole answer
            limits=httpx.Limits(max_connections=settings.concurrency),
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="openai-client", daemon=True
        )
        self._thread.start()

    def get(self, url: str, attempts: int) -> Any:
        """The JSON that a GET answers with.

        Raises:
            RequestFailedError, EngineUnavailableError: as `ask`.
        """
        return self.wait(self.ask("GET", url, None, f"GET {url}", lambda answer: answer, attempts))

    def wait(self, asked: Coroutine[Any, Any, T]) -> T:
        """Run one request to its end."""
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result()

    async def post(
        self, path: str, body: dict[str, Any], label: str, read: Callable[[Any], T]
    ) -> T:
        """What `read` makes of the JSON that a POST answers with; errors as `ask`."""
        attempts = self._settings.max_attempts
        return await self.ask("POST", f"{self.url}/{path}", body, label, read, attempts)

    async def ask(
        self,
        method: str,
        url: str,
        body: dict[str, Any] | None,
        label: str,
        read: Callable[[Any], T],
        attempts: int,
    ) -> T:
        """Send a request until it is answered.

        Args:
            label: names the request in errors.
            read: takes the answer apart; MalformedAnswerError asks again.

        Raises:
            RequestFailedError: refused, or failed at every attempt.
            EngineUnavailableError: the server does not accept the key.
        """
        for attempt in range(1, attempts + 1):
            retry_after = None
            try:
                response = await self._send(method, url, body)
                if response.is_success:
                    return read(_json(response))
                problem = f"HTTP {response.status_code}: {self._clean(response.text)}"
                if response.status_code in (401, 403):
                    raise EngineUnavailableError(
                        f"{self.url} does not accept {self._key_description()}: {problem}"
                    )
                if response.status_code < 500 and response.status_code not in RETRIED:
                    raise RequestFailedError(f"request {label} was refused: {problem}")
                retry_after = retry_after_seconds(response.headers.get("Retry-After"), time.time())
            except MalformedAnswerError as error:
                problem = f"no usable answer: {self._clean(str(error))}"
            except TimeoutError:
                problem = f"no answer within {self._settings.timeout_seconds:g} s"
            except (httpx.TransportError, httpx.DecodingError) as error:
                problem = f"{type(error).__name__}: {self._clean(str(error))}"
            if retry_after is not None and retry_after > LONGEST_RETRY_AFTER_SECONDS:
                raise RequestFailedError(
                    f"request {label}: the server wants a pause of {retry_after:.0f} s: {problem}"
                )
            if attempt < attempts:
                await _pause(
                    max(backoff_seconds(attempt, self._settings, random), retry_after or 0.0)
                )
        raise RequestFailedError(f"request {label} failed at all {attempts} attempts: {problem}")

    async def _send(self, method: str, url: str, body: dict[str, Any] | None) -> httpx.Response:
        async with asyncio.timeout(self._settings.timeout_seconds):
            return await self._http.request(method, url, json=body)

    def stream(
        self,
        items: Sequence[Item],
        work: Callable[[Item], Awaitable[T]],
        may_start: Callable[[], bool],
    ) -> Iterator[T]:
        """Results of all items as they finish, with bounded concurrency and memory.

        When `may_start` says no, no further item is begun and those under way are finished. An
        error, or a caller who stops, cancels what is under way; results that were there before
        an error come first.
        """
        results: queue.SimpleQueue[tuple[T] | None] = queue.SimpleQueue()
        failures: list[Exception] = []
        finished = threading.Event()
        waiting = iter(items)
        # Results that nobody has taken yet count too: a slow reader slows the asking.
        room = asyncio.Semaphore(2 * self._settings.concurrency)

        async def work_on() -> None:
            while True:
                await room.acquire()
                item = next(waiting, _NOTHING) if may_start() else _NOTHING
                if item is _NOTHING:
                    return
                results.put((await work(item),))

        async def work_on_all() -> None:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self._settings.concurrency, len(items))):
                        group.create_task(work_on())
            except* Exception as errors:
                failures.extend(errors.exceptions[:1])
            finally:
                results.put(None)
                finished.set()

        working = asyncio.run_coroutine_threadsafe(work_on_all(), self._loop)
        try:
            while (result := results.get()) is not None:
                self._loop.call_soon_threadsafe(room.release)
                yield result[0]
        finally:
            working.cancel()
            finished.wait(CLOSE_SECONDS)
        if failures:
            raise failures[0]

    def close(self) -> None:
        """Cancel what is under way and close all connections."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop).result(CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS)
        self._loop.close()

    async def _shut_down(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._http.aclose()

    def _key_description(self) -> str:
        name = self._settings.api_key_env
        return f"the key in ${name}" if name else "requests without a key (api_key_env is not set)"

    def _clean(self, text: str) -> str:
        """Text of a server or library, short, on one line and without the key."""
        if self._key:
            text = text.replace(self._key, "[api key]")
        text = " ".join(text.split())
        return text if len(text) <= MAX_BODY_CHARACTERS else text[:MAX_BODY_CHARACTERS] + "…"


_NOTHING: Any = object()


async def _pause(seconds: float) -> None:
    await asyncio.sleep(seconds)


def backoff_seconds(attempt: int, settings: ServerSettings, rng: Any) -> float:
    """Pause after the given failed attempt (1, 2, …): exponential, with full jitter."""
    longest = settings.backoff_seconds * 2.0 ** min(attempt - 1, 60)
    return float(rng.uniform(0.0, min(settings.max_backoff_seconds, longest)))


def retry_after_seconds(header: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date; None if neither."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - now)
    except (TypeError, ValueError):
        return None


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise MalformedAnswerError(f"the body is no JSON ({error})") from None


def _api_key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise EngineUnavailableError(
            f"the environment variable {variable} with the API key is not set"
        )
    if not (key.isascii() and key.isprintable()):
        raise EngineUnavailableError(
            f"the API key in the environment variable {variable} holds characters that a header "
            "cannot carry"
        )
    return key
