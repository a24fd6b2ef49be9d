"""Having requests answered by a model, whichever it is, and the columns that say how."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from dasd_assets.answering.earlier import EarlierColumns, earlier_answers, with_tops
from resources.engines.journal import FinishedRequests, finish_requests
from resources.engines.protocol import Completion, GenerationRequest, InferenceEngine, Progress

CONTEXT_EXCEEDED = "context_exceeded"


@dataclass(frozen=True)
class Completions:
    """Finished answers in the order of their requests; None where a prompt is beyond the context.

    They are read one at a time from the journal, each time that they are gone through.
    """

    finished: FinishedRequests
    keys: list[str]
    fits: list[bool]

    def __iter__(self) -> Iterator[Completion | None]:
        completions = self.finished.read(self.keys)
        return (next(completions) if fit else None for fit in self.fits)


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
    earlier_tops: EarlierColumns | None = None,
) -> Completions:
    """Have every request answered, then give the completions in the order of the requests.

    Finished requests are kept in the journal, so that a retry asks only for the missing ones. All
    are finished when this returns. Answers that `earlier` has (see `earlier_answers`) are not asked
    for; where the likeliest tokens are asked for, only if `earlier_tops` has these too.
    """
    fits = [engine.check(request) is None for request in requests]
    fitting = [request for request, fit in zip(requests, fits, strict=True) if fit]
    keys = [request.key(engine.identity) for request in fitting]
    known = earlier_answers(keys, earlier)
    if earlier_tops is not None:
        known = with_tops(known, earlier_tops)
    finished = finish_requests(engine, fitting, journal, on_progress, known)
    return Completions(finished, keys, fits)


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
