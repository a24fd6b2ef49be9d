"""Completions of all requests by way of a journal, as the assets read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from resources.engines.journal import finish_requests
from resources.engines.protocol import (
    Completion,
    GenerationRequest,
    InferenceEngine,
    ProgressCallback,
)


def generate_with_journal(
    engine: InferenceEngine,
    requests: Sequence[GenerationRequest],
    journal_path: Path,
    on_progress: ProgressCallback | None = None,
) -> Iterator[Completion]:
    """In the order of the requests, those with the same key once."""
    finished = finish_requests(engine, requests, journal_path, on_progress)
    yield from finished.read(dict.fromkeys(request.key(engine.identity) for request in requests))
