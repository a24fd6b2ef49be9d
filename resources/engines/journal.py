"""The request journal: finished requests are durable as they finish.

A partition's answers are only visible when all are there; until then each finished request is
appended here. A retry of a killed or failed partition reads the journal and asks for the rest.

A record is `<length, crc32><key, finish_reason, n><token ids><logprobs>`, little-endian. A torn or
corrupt record ends the journal: it and what follows are cut off when the journal is opened.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from resources.engines.protocol import (
    Completion,
    GenerationRequest,
    InferenceEngine,
    Progress,
    ProgressCallback,
)

_FRAME = struct.Struct("<II")
_HEAD = struct.Struct("<32sBI")
_REASONS: tuple[Literal["stop", "length"], ...] = ("stop", "length")

SECONDS_BETWEEN_SYNCS = 1.0


class Journal:
    """Append-only file of completions; opening it drops a torn tail."""

    def __init__(self, path: Path) -> None:
        """Open or create the journal at `path`."""
        self._completions: dict[str, Completion] = {}
        self._file = path.open("a+b")
        self._file.seek(0)
        whole = 0
        for end, completion in _records(self._file.read()):
            self._completions[completion.key] = completion
            whole = end
        self._file.truncate(whole)
        self._synced = time.monotonic()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.sync()
        self._file.close()

    @property
    def completions(self) -> dict[str, Completion]:
        """Finished requests by key."""
        return self._completions

    def append(self, completion: Completion) -> None:
        """Add a finished request; it survives a killed process at once and a power cut within
        about a second."""
        payload = b"".join(
            (
                _HEAD.pack(
                    bytes.fromhex(completion.key),
                    _REASONS.index(completion.finish_reason),
                    len(completion.token_ids),
                ),
                completion.token_ids.astype("<i4").tobytes(),
                completion.logprobs.astype("<f4").tobytes(),
            )
        )
        self._file.write(_FRAME.pack(len(payload), zlib.crc32(payload)) + payload)
        self._file.flush()
        self._completions[completion.key] = completion
        if time.monotonic() - self._synced > SECONDS_BETWEEN_SYNCS:
            self.sync()

    def sync(self) -> None:
        """Make what was appended survive a power cut."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()


def _records(content: bytes) -> Iterator[tuple[int, Completion]]:
    """Whole records with the byte after each; stops at the first that is torn or corrupt."""
    start = 0
    while len(content) - start >= _FRAME.size:
        length, checksum = _FRAME.unpack_from(content, start)
        end = start + _FRAME.size + length
        payload = content[start + _FRAME.size : end]
        if len(payload) < length or length < _HEAD.size or zlib.crc32(payload) != checksum:
            return
        key, reason, n = _HEAD.unpack_from(payload)
        yield (
            end,
            Completion(
                key=key.hex(),
                token_ids=np.frombuffer(payload, "<i4", n, _HEAD.size),
                logprobs=np.frombuffer(payload, "<f4", n, _HEAD.size + 4 * n),
                finish_reason=_REASONS[reason],
            ),
        )
        start = end


def generate_with_journal(
    engine: InferenceEngine,
    requests: Sequence[GenerationRequest],
    journal_path: Path,
    on_progress: ProgressCallback | None = None,
) -> Iterator[Completion]:
    """Completions of all requests: from the journal where it has them, else from the engine.

    Requests with the same key are asked once and yielded once. Progress counts both kinds as
    done; its rate is the engine's alone.
    """
    wanted = {request.key(engine.identity): request for request in requests}
    with Journal(journal_path) as journal:
        kept = [journal.completions[key] for key in wanted if key in journal.completions]
        missing = [request for key, request in wanted.items() if key not in journal.completions]

        def report(progress: Progress) -> None:
            if on_progress:
                done = len(kept) + progress.done
                on_progress(Progress(done, len(wanted), progress.n_tokens, progress.seconds))

        yield from kept
        for completion in engine.generate(missing, report) if missing else ():
            journal.append(completion)
            yield completion
