"""JSON lines to and from a process that is not trusted to read or to answer."""

from __future__ import annotations

import json
import os
import selectors
import time
from contextlib import suppress
from typing import Any, Final

CHUNK_BYTES: Final = 65_536


def write_line(descriptor: int, value: Any, seconds: float) -> None:
    """Write a value as one line, as far as it is read in time: that no answer comes says the rest.

    Args:
        descriptor: of the pipe's writing end; it does not block any more afterwards.
    """
    deadline = time.monotonic() + seconds
    os.set_blocking(descriptor, False)
    left = memoryview(json.dumps(value).encode() + b"\n")
    with selectors.DefaultSelector() as selector, suppress(BrokenPipeError):
        selector.register(descriptor, selectors.EVENT_WRITE)
        while left and selector.select(max(0.0, deadline - time.monotonic())):
            left = left[os.write(descriptor, left[:CHUNK_BYTES]) :]


class JsonLines:
    """Lines of a pipe, each with a time limit and all with a limit of length.

    Args:
        descriptor: of the pipe's reading end; nothing else may read from it.
        most_bytes: of one line.
    """

    def __init__(self, descriptor: int, most_bytes: int) -> None:
        self._descriptor = descriptor
        self._most_bytes = most_bytes
        self._rest = bytearray()

    def next(self, seconds: float) -> Any:
        """The next line's value; None if it is late, too long or no JSON, or the pipe has ended."""
        deadline = time.monotonic() + seconds
        searched = 0
        with selectors.DefaultSelector() as selector:
            selector.register(self._descriptor, selectors.EVENT_READ)
            while (end := self._rest.find(b"\n", searched)) < 0:
                searched = len(self._rest)
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return None
                chunk = os.read(self._descriptor, CHUNK_BYTES)
                if not chunk or searched + len(chunk) > self._most_bytes:
                    return None
                self._rest += chunk
        line = bytes(self._rest[:end])
        del self._rest[: end + 1]
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            return None
