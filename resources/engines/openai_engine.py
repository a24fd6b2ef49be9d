"""A model behind any OpenAI-compatible server; only its tokenizer and config are local."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from resources.engines.local_tokenizer import LocalTokenizerEngine
from resources.engines.model_folder import inspect_model
from resources.engines.openai_answers import (
    AnswerReader,
    finish_reason,
    logprob_or_nan,
    only_choice,
)
from resources.engines.openai_budget import Budget
from resources.engines.openai_client import ApiClient, MalformedAnswerError, RequestFailedError
from resources.engines.openai_probe import check_logprobs_mode
from resources.engines.openai_requests import (
    UnsupportedRequestError,
    check_supported,
    generation_body,
    scoring_body,
)
from resources.engines.prompts import (
    check_generation,
    check_scoring,
)
from resources.engines.protocol import (
    Completion,
    EngineUnavailableError,
    GenerationRequest,
    ModelIdentity,
    Progress,
    ProgressCallback,
    ScoringRequest,
    TokenScores,
)
from resources.engines.settings import OpenAiSettings, cannot_score

START_ATTEMPTS = 3
"""Tries before a server counts as unreachable when nothing has been asked of it yet."""

TOO_LONG = re.compile("context_length_exceeded|maximum context length")
"""How servers say that a prompt is beyond their context."""

MAX_LISTED = 20
"""Models of a server that an error names."""


class WrongModelError(EngineUnavailableError):
    """The server answered with another model than the one asked for."""


class OpenAiEngine(LocalTokenizerEngine):
    """See `resources.engines.protocol.InferenceEngine`.

    An answer includes its end token where the server tells it (vLLM does); a server that hides
    the end token leaves answers without it.
    """

    def __init__(self, path: str, settings: OpenAiSettings, revision: str | None = None) -> None:
        """Find the model at the server; nothing is spent yet.

        Args:
            path: folder in Hugging Face layout with config and tokenizer; weights are not needed.

        Raises:
            ModelFolderError: the folder is missing, incomplete or inconsistent.
            EngineUnavailableError: no API key, no server, or the server has no such model.
        """
        folder = inspect_model(path, revision, weights=False)
        self._tokenizer = AutoTokenizer.from_pretrained(folder.path)
        self._reader = AnswerReader(self._tokenizer)
        self._settings = settings
        self._budget = Budget(settings)
        self._client = ApiClient(settings)
        try:
            served = self._served_model()
            self._is_vllm = served.get("owned_by") == "vllm"
            self._identity = ModelIdentity(
                model=settings.served_model,
                revision=revision or folder.content_hash[:16],
                # The two endpoints do not answer alike: chat renders the prompt by itself.
                engine="openai" if settings.endpoint == "completions" else "openai-chat",
                engine_version=self._server_version() if self._is_vllm else "unknown",
            )
            contexts = (folder.max_position_embeddings, served.get("max_model_len"))
            self._context: int = min((tokens for tokens in contexts if tokens), default=0)
            if not self._context:
                raise EngineUnavailableError(
                    f"neither {folder.path}/config.json (max_position_embeddings) nor the server "
                    "tells the context of the model, so prompts beyond it could not be found"
                )
        except BaseException:
            self._client.close()
            raise
        self._probed = False

    def generate(
        self, requests: Sequence[GenerationRequest], on_progress: ProgressCallback | None = None
    ) -> Iterator[Completion]:
        """Ask for every request, many at once.

        Raises:
            UnsupportedRequestError: the chat endpoint cannot continue a prefix; nothing was sent.
            WrongModelError: another model answered.
            RequestFailedError: a request was refused or failed at every attempt.
            BudgetExceededError: after the answers that were under way when the budget was spent.
        """
        check_generation(self, requests)
        check_supported(requests, self._settings, self._is_vllm)
        if requests and not self._probed:
            check_logprobs_mode(self._body(requests[0]), self._ask_once)
            self._probed = True
        started, done, n_tokens = time.monotonic(), 0, 0
        for completion in self._client.stream(requests, self._answer, self._budget.allows_more):
            done += 1
            n_tokens += len(completion.token_ids)
            if on_progress:
                on_progress(Progress(done, len(requests), n_tokens, time.monotonic() - started))
            yield completion
        if done < len(requests):
            raise self._budget.exceeded(len(requests) - done)

    def score(
        self, requests: Sequence[ScoringRequest], on_progress: ProgressCallback | None = None
    ) -> Iterator[TokenScores]:
        """Score by vLLM's `prompt_logprobs`; a token without one is NaN with rank 0.

        Raises:
            UnsupportedRequestError: the chat endpoint, or a server without `prompt_logprobs`.
            Others: as `generate`.
        """
        if problem := cannot_score(self._settings):
            raise UnsupportedRequestError(problem)
        check_scoring(requests, self._context - 1)  # the server insists on sampling one token
        started, done, scored = time.monotonic(), 0, 0
        for scores in self._client.stream(requests, self._score, self._budget.allows_more):
            done += 1
            scored += len(scores.logprobs)
            if on_progress:
                on_progress(Progress(done, len(requests), scored, time.monotonic() - started))
            yield scores
        if done < len(requests):
            raise self._budget.exceeded(len(requests) - done)

    def close(self) -> None:
        """Cancel what is under way and close all connections."""
        self._client.close()

    def _served_model(self) -> dict[str, Any]:
        """The server's entry for the model."""
        url = f"{self._client.url}/models"
        try:
            answer = self._client.get(url, min(START_ATTEMPTS, self._settings.max_attempts))
            served = {entry["id"]: entry for entry in answer["data"]}
        except RequestFailedError as error:
            raise EngineUnavailableError(
                f"no usable server at {self._client.url}: {error}"
            ) from None
        except (KeyError, TypeError):
            raise EngineUnavailableError(
                f"{url} does not list models as OpenAI's API does"
            ) from None
        if self._settings.served_model not in served:
            raise EngineUnavailableError(
                f"{self._client.url} does not have the model {self._settings.served_model!r}; it "
                f"has: {', '.join(sorted(served)[:MAX_LISTED]) or 'none'}"
            )
        return dict(served[self._settings.served_model])

    def _server_version(self) -> str:
        """The version that vLLM tells beside its API."""
        try:
            answer = self._client.get(f"{self._client.url.removesuffix('/v1')}/version", 1)
            return str(answer["version"])
        except (RequestFailedError, EngineUnavailableError, KeyError, TypeError):
            return "unknown"

    def _body(self, request: GenerationRequest) -> dict[str, Any]:
        return generation_body(request, self._settings, self._is_vllm)

    async def _answer(self, request: GenerationRequest) -> Completion:
        key = request.key(self._identity)

        def read(answer: Any) -> Completion:
            choice = self._choice(answer)
            emitted = self._reader.read(choice)
            n_prompt = len(request.prompt.token_ids) + len(request.prefix_token_ids)
            self._budget.add(answer.get("usage"), n_prompt, len(emitted.token_ids))
            return Completion(key, emitted.token_ids, emitted.logprobs, finish_reason(choice))

        try:
            return await self._client.post(self._path, self._body(request), key[:12], read)
        except RequestFailedError as error:
            if not TOO_LONG.search(str(error)):
                raise
            # The server's own rendering or its context is not ours: nothing was emitted.
            return Completion(key, np.empty(0, np.int32), np.empty(0, np.float32), "length")

    async def _score(self, request: ScoringRequest) -> TokenScores:
        body = scoring_body(request, self._settings)
        n_tokens = len(body["prompt"])

        def read(answer: Any) -> TokenScores:
            listed = self._choice(answer).get("prompt_logprobs")
            if listed is None:
                raise UnsupportedRequestError(
                    f"{self._client.url} returns no prompt_logprobs (vLLM's extension of the "
                    "completions endpoint), so it cannot score given tokens"
                )
            if len(listed) != n_tokens:
                raise MalformedAnswerError(f"{len(listed)} logprobs for {n_tokens} tokens")
            start = len(request.prompt_token_ids)
            found = [
                (entry or {}).get(str(token)) or {}
                for token, entry in zip(request.token_ids, listed[start:], strict=True)
            ]
            self._budget.add(answer.get("usage"), n_tokens, 1)
            return TokenScores(
                key=request.key,
                logprobs=np.array([logprob_or_nan(e.get("logprob")) for e in found], np.float32),
                ranks=np.array([e.get("rank") or 0 for e in found], np.int32),
            )

        return await self._client.post(self._path, body, request.key[:12], read)

    def _ask_once(self, body: dict[str, Any]) -> dict[str, Any]:
        """The choice of one answer that is not kept."""

        def read(answer: Any) -> dict[str, Any]:
            choice = self._choice(answer)
            self._budget.add(answer.get("usage"), len(body.get("prompt", ())), 1)
            return choice

        return self._client.wait(self._client.post(self._path, body, "probe", read))

    @property
    def _path(self) -> str:
        return "completions" if self._settings.endpoint == "completions" else "chat/completions"

    def _choice(self, answer: Any) -> dict[str, Any]:
        """The choice of an answer of the right model."""
        choice = only_choice(answer)
        if answer.get("model") != self._settings.served_model:
            raise WrongModelError(
                f"{self._client.url} was asked for {self._settings.served_model!r} and answered "
                f"with {answer.get('model')!r}"
            )
        return choice
