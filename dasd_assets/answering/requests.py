"""Having requests answered by a model, whichever it is, and the columns that say how."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from dasd_assets.answering.earlier import earlier_answers
from resources.engines.journal import finish_requests
from resources.engines.protocol import Completion, GenerationRequest, InferenceEngine, Progress

CONTEXT_EXCEEDED = "context_exceeded"


def request_seed(*parts: str | int) -> int:
    """A 63-bit seed that depends on nothing but `parts`, so that a retry repeats the answer."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def complete_all(
    engine: InferenceEngine,
    requests: Sequence[GenerationRequest],
    journal: Path,
    on_progress: Callable[[Progress], None] | None = None,
    earlier: Iterable[pa.RecordBatch] = (),
) -> Iterator[Completion | None]:
    """Have every request answered, then give the completions in the order of the requests.

    Finished requests are kept in the journal, so that a retry asks only for the missing ones. All
    are finished when this returns; the iterator reads one completion at a time back from the
    journal. It gives None where a prompt is beyond the context. Answers that `earlier` has (see
    `earlier_answers`) are not asked for.
    """
    fits = [engine.check(request) is None for request in requests]
    fitting = [request for request, fit in zip(requests, fits, strict=True) if fit]
    keys = [request.key(engine.identity) for request in fitting]
    known = earlier_answers(keys, earlier)
    completions = finish_requests(engine, fitting, journal, on_progress, known).read(keys)
    return (next(completions) if fit else None for fit in fits)


def sampling_columns(
    engine: InferenceEngine, request: GenerationRequest, completion: Completion | None
) -> dict[str, Any]:
    """The columns that tell how a row was sampled, and what came back.

    A request that was never sent, because its prompt is beyond the model's context, has no
    tokens and the finish reason `context_exceeded`; nothing is made up for it.
    """
    identity = engine.identity
    return {
        "model": identity.model,
        "model_revision": identity.revision,
        "engine": identity.engine,
        "engine_version": identity.engine_version,
        "logprobs_mode": identity.logprobs_mode,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": request.max_tokens,
        "seed": request.seed,
        "finish_reason": completion.finish_reason if completion else CONTEXT_EXCEEDED,
        "token_ids": completion.token_ids if completion else [],
        "logprobs": completion.logprobs if completion else [],
    }


def decode(engine: InferenceEngine, completion: Completion | None) -> str:
    """The emitted text with special tokens; empty if nothing was emitted."""
    if completion is None:
        return ""
    return engine.decode(completion.token_ids)
