"""An engine without a model: its answers depend on the request alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from resources.engines.prompts import check_generation
from resources.engines.protocol import (
    NO_TOP,
    Completion,
    FinishReason,
    GenerationRequest,
    ModelIdentity,
    Progress,
    ProgressCallback,
    Prompt,
    ScoringRequest,
    TokenScores,
    TopLogprobs,
)

IDENTITY = ModelIdentity("stub", "1", "stub", "1")
REASONS: tuple[FinishReason, ...] = ("stop", "length", "tool_calls", "content_filter")


def answer(request: GenerationRequest, mean_tokens: int = 25) -> Completion:
    """What the stub answers: few tokens or none, all finish reasons, some logprobs left out.

    One answer in 10 has fewer logprobs than tokens, one in 10 has a NaN among them.
    """
    rng = np.random.default_rng(request.seed)
    n_tokens = int(rng.exponential(mean_tokens))
    logprobs = -rng.exponential(0.3, n_tokens).astype(np.float32)
    if n_tokens and request.seed % 10 == 3:
        logprobs = logprobs[: int(rng.integers(n_tokens))]
    if n_tokens and request.seed % 10 == 4:
        logprobs[int(rng.integers(n_tokens))] = np.nan
    return Completion(
        key=request.key(IDENTITY),
        token_ids=rng.integers(0, 200_000, n_tokens, dtype=np.int32),
        logprobs=logprobs,
        finish_reason=REASONS[request.seed % len(REASONS)],
        top=some_top(n_tokens, request),
    )


def some_top(n_tokens: int, request: GenerationRequest) -> TopLogprobs:
    """As many likely tokens as were asked for, in descending order; they depend on the seed."""
    if not (k := request.top_logprobs):
        return NO_TOP
    rng = np.random.default_rng(request.seed)
    values = -np.sort(rng.exponential(2.0, (n_tokens, k)).astype(np.float32), axis=1)
    return TopLogprobs(rng.integers(0, 200_000, (n_tokens, k), dtype=np.int32), values)


class StubEngine:
    """Answers at once, in another order than asked, and remembers what it was asked."""

    identity = IDENTITY
    chat_template = "of a tokenizer: prints no date"

    def __init__(self, context: int = 100_000, mean_tokens: int = 25) -> None:
        self.asked: list[str] = []
        self._context = context
        self._mean_tokens = mean_tokens

    @property
    def tokenizer(self) -> Any:
        """Decodes ids to the characters with these numbers."""
        return self

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """The tokenizer's part: one character a token."""
        return (np.asarray(token_ids, np.uint32) % 26 + 97).tobytes().decode("utf-32-le")

    def render(self, messages: list[dict[str, str]], **template_settings: Any) -> Prompt:
        """A prompt with one token a byte."""
        text = "\n".join(f"{message['role']}: {message['content']}" for message in messages)
        return Prompt(
            token_ids=tuple(f"{text}\n{sorted(template_settings.items())}".encode()),
            messages=tuple((message["role"], message["content"]) for message in messages),
            template_settings=tuple(sorted(template_settings.items())),
        )

    def check(self, request: GenerationRequest) -> str | None:
        """Only the prompt is held against the context."""
        return "too long" if len(request.prompt.token_ids) > self._context else None

    def generate(
        self, requests: Sequence[GenerationRequest], on_progress: ProgressCallback | None = None
    ) -> Iterator[Completion]:
        """Answers in reversed order; token counts are those of the answers."""
        check_generation(self, requests)
        self.asked += [request.key(IDENTITY) for request in requests]
        n_tokens = 0
        for done, request in enumerate(reversed(requests), start=1):
            completion = answer(request, self._mean_tokens)
            n_tokens += len(completion.token_ids)
            if on_progress:
                on_progress(Progress(done, len(requests), n_tokens, 1.0))
            yield completion

    def score(
        self, requests: Sequence[ScoringRequest], on_progress: ProgressCallback | None = None
    ) -> Iterator[TokenScores]:
        """Not part of what this engine is for."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to give back."""
