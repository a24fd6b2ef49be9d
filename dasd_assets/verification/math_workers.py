"""Mathematical expressions compared by math-verify, in processes that are killed when they hang.

Reading `9^{9^{9^9}}` never ends, and no signal stops it. A worker that is late is killed; the next
comparison gets a new one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from dasd_assets.verification.json_lines import JsonLines, write_line

WORKER: Final = Path(__file__).with_name("math_worker.py")
START_SECONDS: Final = 120.0
MAX_REPLY_BYTES: Final = 65_536


def compare_expressions(reference: str, answer: str, seconds: float) -> str:
    """Compare two expressions, LaTeX or plain, by value.

    Any number of threads may call this; each that waits has a worker of its own.

    Args:
        reference: what is right.
        answer: what was found.
        seconds: wall clock for this comparison; starting a worker does not count.

    Returns:
        correct, not_equal, not_an_expression (the answer), not_comparable, timeout or
        unusable_reference.

    Raises:
        RuntimeError: no worker can be started.
    """
    worker = _POOL.take()
    verdict = worker.compare(reference, answer, seconds)
    if worker.is_usable:
        _POOL.give_back(worker)
    return verdict


class _Worker:
    def __init__(self, program: Path = WORKER) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdin and self._process.stdout
        self._requests = self._process.stdin
        self._replies = JsonLines(self._process.stdout.fileno(), MAX_REPLY_BYTES)
        if self._replies.next(START_SECONDS) != {"ready": True}:
            self.end()
            raise RuntimeError(
                "the process that compares mathematical answers did not start: try "
                f"`{sys.executable} {program}`"
            )

    @property
    def is_usable(self) -> bool:
        """Whether its process runs."""
        return self._process.poll() is None

    def compare(self, reference: str, answer: str, seconds: float) -> str:
        request = {"reference": reference, "answer": answer, "seconds": seconds}
        deadline = time.monotonic() + seconds
        write_line(self._requests.fileno(), request, seconds)
        reply: Any = self._replies.next(deadline - time.monotonic())
        if reply is not None:
            return str(reply["verdict"])
        self.end()
        return "timeout" if time.monotonic() >= deadline else "not_comparable"

    def end(self) -> None:
        self._process.kill()
        with suppress(BrokenPipeError), self._process:
            pass


class _Pool:
    """Workers that wait for work. A forked process starts its own: theirs are its parent's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process_id = 0
        self._waiting: list[_Worker] = []

    def take(self) -> _Worker:
        with self._lock:
            if self._process_id != os.getpid():
                self._process_id, self._waiting = os.getpid(), []
            while self._waiting:
                if (worker := self._waiting.pop()).is_usable:
                    return worker
        return _Worker()

    def give_back(self, worker: _Worker) -> None:
        with self._lock:
            self._waiting.append(worker)


_POOL: Final = _Pool()
