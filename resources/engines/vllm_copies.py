"""Several copies of a model in vLLM, each on GPUs of its own, that share one stream of requests.

vLLM's `LLM` refuses its own `data_parallel_size` within one process. So each copy is an engine of
its own, whose processes see only the GPUs of that copy.
"""

from __future__ import annotations

import itertools
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from resources.compute.gpus import VISIBLE
from resources.engines.protocol import EngineUnavailableError

SECONDS_BETWEEN_LOOKS = 0.2
"""At whether the caller has stopped, while a finished output waits to be taken."""

Task = tuple[Any, Any]
"""Prompt and sampling parameters, as vLLM takes them."""


class Stepping(Protocol):
    """What is used of vLLM's engine."""

    def has_unfinished_requests(self) -> bool:
        """Whether something is under way."""

    def add_request(self, request_id: str, prompt: Any, params: Any) -> Any:
        """Hand over a request."""

    def step(self) -> Iterable[Any]:
        """Outputs of one step of the model."""

    def abort_request(self, request_ids: list[str]) -> Any:
        """Give up requests."""


def gpu_shares(usable: Sequence[str], copies: int, gpus_per_copy: int) -> list[str | None]:
    """The GPUs of each copy, as CUDA_VISIBLE_DEVICES names them; None: one copy takes what it sees.

    Raises:
        EngineUnavailableError: there are not enough.
    """
    if copies == 1:
        return [None]
    needed = copies * gpus_per_copy
    if len(usable) < needed:
        raise EngineUnavailableError(
            f"data_parallel_size {copies} with {gpus_per_copy} GPU(s) a copy needs {needed} GPUs, "
            f"this step has {len(usable)}. Lower data_parallel_size, or raise `compute.….gpus` "
            "where there are more"
        )
    return [
        ",".join(usable[first : first + gpus_per_copy]) for first in range(0, needed, gpus_per_copy)
    ]


@contextmanager
def only_gpus(gpus: str | None) -> Iterator[None]:
    """What is started inside sees these GPUs alone; None changes nothing."""
    if gpus is None:
        yield
        return
    before = os.environ.get(VISIBLE)
    os.environ[VISIBLE] = gpus
    try:
        yield
    finally:
        if before is None:
            del os.environ[VISIBLE]
        else:
            os.environ[VISIBLE] = before


def run_tasks(
    engines: Sequence[Stepping],
    tasks: Iterable[Task],
    most_under_way: int,
    request_ids: Iterator[int],
    on_step: Callable[[int], None] = lambda under_way: None,
) -> Iterator[tuple[int, list[Any]]]:
    """Run tasks on all copies; yields index and outputs, the pieces of one answer, as they finish.

    A caller who stops early, or a task that fails, aborts what is under way.

    Args:
        most_under_way: tasks that a copy has at a time.
        request_ids: never used before with these engines.
        on_step: gets, after each step of a copy, the tokens of all answers that are not finished.

    Raises:
        RuntimeError: another call is under way.
    """
    for engine in engines:
        if engine.has_unfinished_requests():
            raise RuntimeError("another call of this engine is under way: finish or close it first")
    numbered = enumerate(tasks)
    if len(engines) == 1:
        for item in _run_on(engines[0], numbered, most_under_way, request_ids):
            if isinstance(item, int):
                on_step(item)
            else:
                yield item
        return
    shared = _Shared(numbered)
    outputs: queue.Queue[Any] = queue.Queue(maxsize=len(engines))
    stopped = threading.Event()

    def put(item: Any) -> None:
        while not stopped.is_set():
            try:
                return outputs.put(item, timeout=SECONDS_BETWEEN_LOOKS)
            except queue.Full:
                continue

    def work(place: int, engine: Stepping) -> None:
        found = _run_on(engine, shared, most_under_way, request_ids)
        try:
            for item in found:
                put((place, item))
                if stopped.is_set():
                    break
            put(_DONE)
        except Exception as error:
            put(error)
        finally:
            found.close()

    workers = [threading.Thread(target=work, args=each, daemon=True) for each in enumerate(engines)]
    for worker in workers:
        worker.start()
    working = len(workers)
    under_way = [0] * len(engines)
    try:
        while working:
            got = outputs.get()
            if isinstance(got, Exception):
                raise got
            if got is _DONE:
                working -= 1
                continue
            place, item = got
            if isinstance(item, int):
                under_way[place] = item
                on_step(sum(under_way))
            else:
                yield item
    finally:
        stopped.set()
        for worker in workers:
            worker.join()


def _run_on(
    engine: Stepping,
    waiting: Iterator[tuple[int, Task]],
    most_under_way: int,
    request_ids: Iterator[int],
) -> Generator[tuple[int, list[Any]] | int]:
    """Run what is taken from the waiting tasks on one copy.

    Yields:
        Index and outputs of what is finished, and after each step the tokens of what is not.
    """
    under_way: dict[str, int] = {}
    pieces: dict[str, list[Any]] = {}
    n_tokens = 0
    try:
        while True:
            free = most_under_way - len(under_way)
            for index, (prompt, parameters) in itertools.islice(waiting, free):
                request_id = str(next(request_ids))
                engine.add_request(request_id, prompt, parameters)
                under_way[request_id] = index
            if not under_way:
                return
            for output in engine.step():
                before = pieces.setdefault(output.request_id, [])
                if output.finished:
                    n_tokens -= sum(map(_n_tokens, before))
                    del pieces[output.request_id]
                    yield under_way.pop(output.request_id), [*before, output]
                else:
                    before.append(output)
                    n_tokens += _n_tokens(output)
            yield n_tokens
    finally:
        if under_way:  # the caller stopped early, or a request failed
            engine.abort_request(list(under_way))


def _n_tokens(output: Any) -> int:
    return len(output.outputs[0].token_ids)


class _Shared:
    """One iterator for several threads."""

    def __init__(self, items: Iterator[tuple[int, Task]]) -> None:
        self._items, self._lock = items, threading.Lock()

    def __iter__(self) -> _Shared:
        return self

    def __next__(self) -> tuple[int, Task]:
        with self._lock:
            return next(self._items)


_DONE: Any = object()
