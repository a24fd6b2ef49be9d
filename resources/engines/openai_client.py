"""HTTP to OpenAI-compatible servers: retries, deadlines, bounded concurrency, no leaked key."""

from __future__ import annotations

import asyncio
import logging
import queue
import random
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import httpx

from resources.engines.open_files import allow_connections
from resources.engines.openai_bodies import (
    ACCEPTED_ENCODING,
    MalformedAnswerError,
    answer_limit,
    parse_json,
    read_body,
    read_error,
)
from resources.engines.openai_endpoints import Endpoint, Endpoints
from resources.engines.openai_pauses import (
    LONGEST_RETRY_AFTER_SECONDS,
    backoff_seconds,
    retry_after_seconds,
)
from resources.engines.openai_secrets import Redaction, api_key
from resources.engines.protocol import EngineUnavailableError
from resources.engines.settings import ServerSettings

T = TypeVar("T")
Read = Callable[[Any, Endpoint], T]
"""Takes the JSON of an answer of a server apart."""
Item = TypeVar("Item")

RETRIED = frozenset({408, 409, 425, 429})
"""Statuses below 500 that may pass."""

DEAD = frozenset({502, 503, 504})
"""Statuses of a server that is not there, or of a proxy before it."""

CLOSE_SECONDS = 10.0

SECONDS_FOR_TEXT = 2.0
"""For what is nice to know; a server that is busy may not answer it."""

SECONDS_OF_SILENCE = 5.0
"""Without a result, until somebody wants to know whether anything goes on."""


class RequestFailedError(RuntimeError):
    """A request that was refused, or that failed at every attempt."""


class RequestRefusedError(RequestFailedError):
    """A request that the server will not answer however often it is asked."""


class ApiClient:
    """Sends requests from an event loop in its own thread, so that callers stay plain code."""

    def __init__(self, settings: ServerSettings, sockets: Mapping[str, str] | None = None) -> None:
        """Nothing is sent yet.

        Args:
            sockets: scheme and host of a URL -> Unix socket that the server listens on instead.

        Raises:
            EngineUnavailableError: the environment variable with the API key is not set.
        """
        # They log a line for each request, and at DEBUG the headers of each answer.
        for logger in ("httpx", "httpcore"):
            logging.getLogger(logger).setLevel(logging.WARNING)
        self._settings = settings
        key = api_key(settings.api_key_env)
        self.clean = Redaction(key).clean
        """Makes text of a server fit to be shown."""
        self.endpoints = Endpoints(settings)
        headers = {"Accept-Encoding": ACCEPTED_ENCODING}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        allow_connections(settings.concurrency)
        # One for `text`, which is asked for while all others are busy.
        limits = httpx.Limits(max_connections=settings.concurrency + 1)
        self._http = httpx.AsyncClient(
            headers=headers,
            timeout=None,  # httpx counts each read; the deadline of `_send` is for the whole answer
            limits=limits,
            # Nothing is encrypted on a socket of this machine; certificates take time to read.
            mounts={
                host: httpx.AsyncHTTPTransport(verify=False, uds=path, limits=limits)
                for host, path in (sockets or {}).items()
            },
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="openai-client", daemon=True
        )
        self._thread.start()

    def get(self, url: str, at: Endpoint, attempts: int) -> Any:
        """The JSON that a GET of a whole URL answers with.

        Raises:
            RequestFailedError, EngineUnavailableError: as `ask`.
        """
        return self.wait(
            self.ask("GET", url, None, f"GET {url}", lambda answer, _: answer, attempts, at)
        )

    def text(self, url: str, at: Endpoint) -> str | None:
        """What a GET of a whole URL answers with; None if it does not, soon and in a few bytes."""

        async def ask() -> str | None:
            try:
                async with asyncio.timeout(SECONDS_FOR_TEXT):
                    response, content = await self._send("GET", at, url, None)
            except (MalformedAnswerError, TimeoutError, httpx.TransportError):
                return None
            return content.decode("utf-8", "replace") if response.is_success else None

        return self.wait(ask())

    def wait(self, asked: Coroutine[Any, Any, T]) -> T:
        """Run one request to its end."""
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result()

    async def post(
        self, path: str, body: dict[str, Any], label: str, read: Read[T], at: Endpoint | None = None
    ) -> T:
        """What `read` makes of the JSON that a POST answers with; errors as `ask`."""
        return await self.ask("POST", path, body, label, read, self._settings.max_attempts, at)

    async def ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        label: str,
        read: Read[T],
        attempts: int,
        at: Endpoint | None,
    ) -> T:
        """Send a request until it is answered.

        Args:
            path: below the server's URL, or a whole URL.
            label: names the request in errors.
            read: takes the answer of a server apart; MalformedAnswerError asks again.
            at: the server to ask; None: whichever has the least to do, at each try anew.

        Raises:
            RequestRefusedError: the server will not answer it.
            RequestFailedError: failed at every attempt.
            EngineUnavailableError: the server does not accept the key.
        """
        endpoint = None
        for attempt in range(1, attempts + 1):
            endpoint = at or self.endpoints.choose(avoid=endpoint)
            retry_after, is_dead = None, False
            with self.endpoints.asking(endpoint) as began:
                try:
                    response, content = await self._send(method, endpoint, path, body)
                    if response.is_success:
                        answer = read(parse_json(content), endpoint)
                        self.endpoints.answered(endpoint, began)
                        return answer
                    said = self.clean(content.decode("utf-8", "replace"))
                    problem = f"HTTP {response.status_code}: {said}"
                    self._check_status(response.status_code, endpoint, label, problem)
                    retry_after = retry_after_seconds(
                        response.headers.get("Retry-After"), time.time()
                    )
                    is_dead = response.status_code in DEAD
                except MalformedAnswerError as error:
                    problem = f"no usable answer: {self.clean(str(error))}"
                except TimeoutError:
                    problem = f"no answer within {self._settings.timeout_seconds:g} s"
                    is_dead = True
                except httpx.TransportError as error:
                    problem = f"{type(error).__name__}: {self.clean(str(error))}"
                    is_dead = True
            if retry_after is not None and retry_after > LONGEST_RETRY_AFTER_SECONDS:
                raise RequestFailedError(
                    f"request {label}: the server wants a pause of {retry_after:.0f} s: {problem}"
                )
            goes_on = is_dead and self.endpoints.found_dead(endpoint, began, problem) and not at
            if attempt < attempts and not goes_on:
                await _pause(
                    max(backoff_seconds(attempt, self._settings, random), retry_after or 0.0)
                )
        raise RequestFailedError(
            f"request {label} failed at all {attempts} attempts: {problem}{self._where(endpoint)}"
        )

    def _check_status(self, status: int, endpoint: Endpoint, label: str, problem: str) -> None:
        """Raise for a status that asking again does not change."""
        if status in (401, 403):
            name = self._settings.api_key_env
            key = f"the key in ${name}" if name else "requests without a key (api_key_env is unset)"
            raise EngineUnavailableError(f"{endpoint.url} does not accept {key}: {problem}")
        if status < 500 and status not in RETRIED:
            raise RequestRefusedError(
                f"request {label} was refused: {problem}{self._where(endpoint)}"
            )

    def _where(self, endpoint: Endpoint | None) -> str:
        """Which of several servers it was."""
        several = len(self._settings.urls) > 1
        return f" (at {endpoint.url})" if endpoint and several else ""

    async def _send(
        self, method: str, endpoint: Endpoint, path: str, body: dict[str, Any] | None
    ) -> tuple[httpx.Response, bytes]:
        """The answer to one try with its body; of one that is no success the body's beginning."""
        url = path if "://" in path else f"{endpoint.url}/{path}"
        async with (
            asyncio.timeout(self._settings.timeout_seconds),
            self._http.stream(method, url, json=body) as response,
        ):
            if response.is_success:
                return response, await read_body(response, answer_limit(body))
            return response, await read_error(response)

    def stream(
        self,
        items: Sequence[Item],
        work: Callable[[Item], Awaitable[T]],
        may_start: Callable[[], bool],
        on_silence: Callable[[], None] = lambda: None,
    ) -> Iterator[T]:
        """Results of all items as they finish, with bounded concurrency and memory.

        When `may_start` says no, no further item is begun and those under way are finished. An
        error, or a caller who stops, cancels what is under way; results that were there before
        an error come first.

        Args:
            on_silence: called now and then while no result comes.
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
            while True:
                try:
                    result = results.get(timeout=SECONDS_OF_SILENCE)
                except queue.Empty:
                    on_silence()
                    continue
                if result is None:
                    break
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


_NOTHING: Any = object()


async def _pause(seconds: float) -> None:
    await asyncio.sleep(seconds)
