"""What every inference engine offers: generate, continue from a prefix, score.

Log-probabilities are natural logs of the model's own distribution at temperature 1, before
temperature and top_p are applied (`raw_logprobs`), whatever sampled the token.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from formats.format_settings import FormatSettings
from formats.model_format import ModelFormat

RAW_LOGPROBS = "raw_logprobs"

NO_LOGPROB = -9_999.0
"""vLLM writes this in place of a logprob that it does not have or that is minus infinity."""
ROUNDING = 1e-4
"""A logprob may be above 0 by as much: a sum of probabilities in bfloat16 is not exactly 1."""

UNKNOWN_TOKEN = -1
"""In place of the id of a likely token: the server did not tell it, or the tokenizer has it not."""

LEAST_ANSWERS, LEAST_SHARE = 5, 0.05
"""Finished answers that an estimate of the time left needs: so many, and this share of all."""

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
"""Why an answer ended; the last two only come from servers that take answers apart themselves."""


@dataclass(frozen=True)
class ModelIdentity:
    """Which model answered, in which engine."""

    model: str
    revision: str
    engine: str
    engine_version: str
    logprobs_mode: str = RAW_LOGPROBS


@dataclass(frozen=True)
class Prompt:
    """A rendered chat: its exact tokens, and the messages and settings that they came from.

    Engines work on the tokens; a hosted chat API takes the messages and renders them itself.
    """

    token_ids: tuple[int, ...]
    messages: tuple[tuple[str, str], ...] = ()
    """(role, content) of each message."""
    template_settings: tuple[tuple[str, Any], ...] = ()
    """Arguments of the chat template, for example `reasoning_effort`."""


@dataclass(frozen=True)
class GenerationRequest:
    """One answer to sample.

    `prefix_token_ids` follow the prompt exactly (continuing a given text); only what comes after
    them is returned. `max_tokens` caps the new tokens. Temperature 0 is greedy.
    """

    prompt: Prompt
    temperature: float
    top_p: float
    max_tokens: int
    seed: int
    prefix_token_ids: tuple[int, ...] = ()
    top_logprobs: int = 0
    """Likeliest tokens that are asked for at each position, at most `settings.MOST_TOP`."""

    def key(self, identity: ModelIdentity) -> str:
        """Hex SHA-256 over everything that shapes the answer."""
        shape = [
            identity.model,
            identity.revision,
            identity.engine,
            identity.logprobs_mode,
            self.prompt.token_ids,
            self.prompt.messages,
            self.prompt.template_settings,
            self.prefix_token_ids,
            self.temperature,
            self.top_p,
            self.max_tokens,
            self.seed,
            # Without it a key is what it was before there was such a setting.
            *([self.top_logprobs] if self.top_logprobs else []),
        ]
        return hashlib.sha256(json.dumps(shape).encode()).hexdigest()


@dataclass(frozen=True)
class TopLogprobs:
    """The k likeliest tokens at each position of an answer, the likeliest first.

    `token_ids` int32 and `logprobs` float32, both (tokens, k). Where a server does not tell them,
    as it does not tell the logprob of the emitted token, the row is UNKNOWN_TOKEN and NaN. A token
    that it names and the tokenizer has not is UNKNOWN_TOKEN with its logprob.
    """

    token_ids: npt.NDArray[np.int32]
    logprobs: npt.NDArray[np.float32]

    @classmethod
    def unknown(cls, n_tokens: int, k: int) -> TopLogprobs:
        """Nothing is known at any position."""
        shape = (n_tokens, k)
        return cls(np.full(shape, UNKNOWN_TOKEN, np.int32), np.full(shape, np.nan, np.float32))


NO_TOP = TopLogprobs.unknown(0, 0)


@dataclass(frozen=True)
class Completion:
    """A sampled answer; the stop token is part of it when `finish_reason` is "stop".

    A server may leave out logprobs, all or some: they are then fewer than the tokens or NaN,
    never filled in. Filtering rejects such an answer with its reason.
    """

    key: str
    token_ids: npt.NDArray[np.int32]
    logprobs: npt.NDArray[np.float32]
    finish_reason: FinishReason
    top: TopLogprobs = NO_TOP
    """Of each token, if the request asked for them; else of none."""


@dataclass(frozen=True)
class ScoringRequest:
    """Given tokens whose probabilities after a prompt are asked for."""

    key: str
    prompt_token_ids: tuple[int, ...]
    token_ids: tuple[int, ...]


@dataclass(frozen=True)
class TokenScores:
    """Natural-log probability of each given token, and its rank (1 is the likeliest token)."""

    key: str
    logprobs: npt.NDArray[np.float32]
    ranks: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Progress:
    """How far a call is: `n_tokens` were sampled or scored in `seconds`.

    An engine that knows of answers which are not finished counts their tokens too; there are
    `under_way` among `n_tokens`. Of `done` requests, `done_before` were so before the call. Of a
    server that tells no tokens is known how many answers it is at: `answers_under_way`.
    """

    done: int
    total: int
    n_tokens: int
    seconds: float
    under_way: int = 0
    done_before: int = 0
    answers_under_way: int = 0

    @property
    def seconds_left(self) -> float | None:
        """How long it will go on; None as long as too little is known.

        What is left has as many tokens an answer as what is finished. Answers that end first are
        short: of a few of many nothing is concluded.
        """
        finished, asked = self.done - self.done_before, self.total - self.done_before
        if finished < max(LEAST_ANSWERS, LEAST_SHARE * asked) or not self.n_tokens:
            return None
        mean = (self.n_tokens - self.under_way) / finished
        left = mean * (self.total - self.done) - self.under_way
        return left * self.seconds / self.n_tokens if left > 0 else None


ProgressCallback = Callable[[Progress], None]


class ContextLengthError(ValueError):
    """A request whose tokens do not fit into the model's context."""


class EngineUnavailableError(RuntimeError):
    """An engine that cannot be used at all; the message says what to install or to mend."""


class InferenceEngine(Protocol):
    """A loaded model."""

    @property
    def identity(self) -> ModelIdentity:
        """Model, revision and engine, as recorded in every row."""
        ...

    @property
    def tokenizer(self) -> Any:
        """The model's Hugging Face tokenizer."""
        ...

    def write_as(self, settings: FormatSettings) -> None:
        """How the model writes, before anything is rendered or asked."""
        ...

    @property
    def format(self) -> ModelFormat:
        """How the model writes its answers."""
        ...

    def render(self, messages: list[dict[str, str]], **template_settings: Any) -> Prompt:
        """A chat's prompt by the model's own template, ready for an answer."""
        ...

    def decode(self, token_ids: npt.NDArray[np.int32]) -> str:
        """The text of emitted tokens, special tokens included."""
        ...

    def check(self, request: GenerationRequest) -> str | None:
        """Why a request cannot be answered (it is beyond the context), or None."""
        ...

    def generate(
        self, requests: Sequence[GenerationRequest], on_progress: ProgressCallback | None = None
    ) -> Iterator[Completion]:
        """Sample every request; completions come as they finish, in any order.

        Raises:
            ContextLengthError: a request does not fit; nothing has been sampled then.
        """
        ...

    def score(
        self, requests: Sequence[ScoringRequest], on_progress: ProgressCallback | None = None
    ) -> Iterator[TokenScores]:
        """Probability and rank of given tokens, one forward pass per request, in any order."""
        ...

    def close(self) -> None:
        """Give back the memory of the model."""
        ...
