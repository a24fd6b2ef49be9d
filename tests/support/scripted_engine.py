"""An engine with a real tokenizer that says what a test tells it to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from dasd_assets.profile import PROJECT_ROOT
from formats.model_format import ModelFormat, student_format
from resources.engines.prompts import context_problem, render_chat
from resources.engines.protocol import (
    Completion,
    FinishReason,
    GenerationRequest,
    ModelIdentity,
    Prompt,
)

Answer = tuple[list[int], FinishReason]
"""Emitted tokens, the stop token included, and why there are no more."""


@cache
def tokenizer(name: str) -> Any:
    """The tokenizer of a tiny model: `teacher` or `student`."""
    return AutoTokenizer.from_pretrained(PROJECT_ROOT / "tiny_world" / "models" / name)


@cache
def written(name: str) -> ModelFormat:
    """How a tiny model writes."""
    return student_format(tokenizer(name))


def encode(name: str, text: str) -> list[int]:
    """Tokens of a text under a tiny model's tokenizer, marks as special tokens."""
    return list(tokenizer(name).encode(text, add_special_tokens=False))


class ScriptedEngine:
    """Renders with the tokenizer of a tiny model and remembers what it was asked."""

    def __init__(
        self,
        name: str,
        answer: Callable[[GenerationRequest], Answer],
        context: int = 100_000,
    ) -> None:
        self.identity = ModelIdentity(name, "1", "scripted", "1")
        self.tokenizer = tokenizer(name)
        self.format = written(name)
        self.requests: list[GenerationRequest] = []
        self._answer = answer
        self._context = context

    def render(self, messages: list[dict[str, str]], **settings: Any) -> Prompt:
        """A prompt by the model's own template."""
        return render_chat(self.tokenizer, messages, settings)

    def decode(self, token_ids: Any) -> str:
        """The text of tokens, special tokens included."""
        return self.format.token_bytes.written(token_ids).decode(errors="replace")

    def check(self, request: GenerationRequest) -> str | None:
        """Why a request does not fit, or None."""
        return context_problem(request, self._context, self.identity.model)

    def generate(
        self, requests: Sequence[GenerationRequest], on_progress: Any = None
    ) -> Iterator[Completion]:
        """The scripted answers, each token with a logprob of -0.5."""
        self.requests += requests
        for request in requests:
            token_ids, reason = self._answer(request)
            logprobs = np.full(len(token_ids), -0.5, np.float32)
            yield Completion(
                request.key(self.identity), np.asarray(token_ids, np.int32), logprobs, reason
            )
