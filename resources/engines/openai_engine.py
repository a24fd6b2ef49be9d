"""A model behind OpenAI-compatible servers; only its tokenizer and config are local."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from resources.engines.load import load_tokenizer
from resources.engines.local_tokenizer import LocalTokenizerEngine
from resources.engines.model_folder import ModelFolder, inspect_model
from resources.engines.openai_answers import AnswerReader, finish_reason, only_choice
from resources.engines.openai_budget import Budget
from resources.engines.openai_client import ApiClient, RequestFailedError
from resources.engines.openai_endpoints import Endpoint
from resources.engines.openai_metrics import tokens_sampled
from resources.engines.openai_probe import check_logprobs_mode
from resources.engines.openai_requests import (
    UnsupportedRequestError,
    check_supported,
    generation_body,
    scoring_body,
)
from resources.engines.openai_scores import scores_of
from resources.engines.openai_servers import Servers, WrongModelError, find_servers
from resources.engines.prompts import check_generation, check_scoring
from resources.engines.protocol import (
    Completion,
    EngineUnavailableError,
    GenerationRequest,
    ModelIdentity,
    Progress,
    ProgressCallback,
    ScoringRequest,
    TokenScores,
    TopLogprobs,
)
from resources.engines.settings import OpenAiSettings, cannot_score
from resources.engines.under_way import Count

T = TypeVar("T")

TOO_LONG = re.compile("context_length_exceeded|maximum context length")
"""How servers say that a prompt is beyond their context."""


class OpenAiEngine(LocalTokenizerEngine):
    """See `resources.engines.protocol.InferenceEngine`.

    An answer includes its end token where the server tells it (vLLM does); a server that hides
    the end token leaves answers without it.
    """

    def __init__(self, path: str, settings: OpenAiSettings, revision: str | None = None) -> None:
        """Find the model at the servers; nothing is spent yet.

        Args:
            path: folder in Hugging Face layout with config and tokenizer; weights are not needed.

        Raises:
            ModelFolderError: the folder is missing, incomplete or inconsistent.
            EngineUnavailableError: no API key, no server, or a server has no such model.
        """
        folder = inspect_model(path, revision, weights=False)
        found = self._connect(folder, settings)
        self._identity = ModelIdentity(
            model=settings.served_model,
            revision=revision or folder.content_hash[:16],
            # The two endpoints do not answer alike: chat renders the prompt by itself. Which of
            # several servers answers makes no difference, and is no part of a request's key.
            engine="openai" if settings.endpoint == "completions" else "openai-chat",
            engine_version=found.version,
        )

    def _connect(
        self,
        folder: ModelFolder,
        settings: OpenAiSettings,
        sockets: Mapping[str, str] | None = None,
    ) -> Servers:
        """Find the model at the servers; all is set then but the identity."""
        self._tokenizer = load_tokenizer(folder.path)
        self._reader = AnswerReader(self._tokenizer, folder.vocab_size)
        self._settings = settings
        self._budget = Budget(settings)
        self._client = ApiClient(settings, sockets)
        try:
            found = find_servers(self._client, settings)
            contexts = (folder.max_position_embeddings, found.max_model_len)
            self._context: int = min((tokens for tokens in contexts if tokens), default=0)
            if not self._context:
                raise EngineUnavailableError(
                    f"neither {folder.path}/config.json (max_position_embeddings) nor the server "
                    "tells the context of the model, so prompts beyond it could not be found"
                )
        except BaseException:
            self._client.close()
            raise
        self.left_out = found.left_out
        """Servers that were down at the start, with what was found."""
        # A server insists on sampling one token behind those that it scores.
        self._scoring_context = min(self._context, (found.max_model_len or self._context) - 1)
        self._is_vllm = found.is_vllm
        self._probed: set[Endpoint] = set()
        return found

    def generate(
        self, requests: Sequence[GenerationRequest], on_progress: ProgressCallback | None = None
    ) -> Iterator[Completion]:
        """Ask for every request, many at once.

        Raises:
            UnsupportedRequestError: a chat server that is not vLLM cannot continue a prefix;
                nothing was sent.
            WrongModelError: another model answered.
            RequestFailedError: a request was refused or failed at every attempt.
            BudgetExceededError: after the answers that were under way when the budget was spent.
        """
        check_generation(self, requests)
        check_supported(requests, self._settings, self._is_vllm)
        if requests:
            self._probe(self._body(requests[0]))
        count = Count(len(requests), on_progress)
        longest = max((request.max_tokens for request in requests), default=0)
        before = self._tokens_sampled()

        def look() -> None:
            answers = sum(endpoint.under_way for endpoint in self._client.endpoints.all)
            now = self._tokens_sampled()
            known = 0 if now is None or before is None else now - before - count.n_finished
            # Others may use the servers too.
            count.under_way(max(0, min(known, answers * longest)), answers)

        for completion in self._client.stream(
            requests, self._answer, self._budget.allows_more, look
        ):
            count.finished(len(completion.token_ids))
            yield completion
        if count.done < len(requests):
            raise self._budget.exceeded(len(requests) - count.done)

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
        check_scoring(requests, self._scoring_context)
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

    def _probe(self, body: dict[str, Any]) -> None:
        """See that each server returns the model's own logprobs; one that is down is left out.

        Raises:
            EngineUnavailableError: the logprobs of one are others, or none answers.
        """
        for endpoint in self._client.endpoints.all:
            if endpoint in self._probed:
                continue
            try:
                check_logprobs_mode(body, partial(self._ask_once, endpoint), endpoint.url)
            except RequestFailedError as error:
                if len(self._client.endpoints.all) == 1:
                    raise
                self._client.endpoints.leave_out(endpoint, str(error))
            self._probed.add(endpoint)

    def _tokens_sampled(self) -> int | None:
        """By all servers since they started; None if one of them does not tell it."""
        if not self._is_vllm:
            return None
        in_all = 0
        for endpoint in self._client.endpoints.all:
            metrics = self._client.text(f"{endpoint.url.removesuffix('/v1')}/metrics", endpoint)
            n_tokens = None if metrics is None else tokens_sampled(metrics)
            if n_tokens is None:
                return None
            in_all += n_tokens
        return in_all

    def _body(self, request: GenerationRequest) -> dict[str, Any]:
        return generation_body(request, self._settings, self._is_vllm)

    async def _answer(self, request: GenerationRequest) -> Completion:
        key = request.key(self._identity)
        body = self._body(request)

        def read(answer: Any, endpoint: Endpoint) -> Completion:
            choice = self._choice(answer, endpoint)
            emitted = self._reader.read(
                choice, request.max_tokens, self.format, body.get("prompt"), request.top_logprobs
            )
            reason = finish_reason(choice)
            n_prompt = len(request.prompt.token_ids) + len(request.prefix_token_ids)
            self._budget.add(answer.get("usage"), n_prompt, len(emitted.token_ids))
            return Completion(key, emitted.token_ids, emitted.logprobs, reason, emitted.top)

        try:
            return await self._client.post(_path(body), body, key[:12], read)
        except RequestFailedError as error:
            if not TOO_LONG.search(str(error)):
                raise
            # The server's own rendering or its context is not ours: nothing was emitted.
            nothing = TopLogprobs.unknown(0, request.top_logprobs)
            ids, logprobs = np.empty(0, np.int32), np.empty(0, np.float32)
            return Completion(key, ids, logprobs, "length", nothing)

    async def _score(self, request: ScoringRequest) -> TokenScores:
        body = scoring_body(request, self._settings)

        def read(answer: Any, endpoint: Endpoint) -> TokenScores:
            listed = self._choice(answer, endpoint).get("prompt_logprobs")
            if listed is None:
                raise UnsupportedRequestError(
                    f"{endpoint.url} returns no prompt_logprobs (vLLM's extension of the "
                    "completions endpoint), so it cannot score given tokens"
                )
            scores = scores_of(listed, request)
            self._budget.add(answer.get("usage"), len(body["prompt"]), 1)
            return scores

        return await self._client.post(_path(body), body, request.key[:12], read)

    def _ask_once(
        self, endpoint: Endpoint, body: dict[str, Any], take: Callable[[dict[str, Any]], T]
    ) -> T:
        """What is taken from one answer of a server that is not kept."""

        def read(answer: Any, endpoint: Endpoint) -> T:
            taken = take(self._choice(answer, endpoint))
            self._budget.add(answer.get("usage"), len(body.get("prompt", ())), 1)
            return taken

        return self._client.wait(self._client.post(_path(body), body, "probe", read, endpoint))

    def _choice(self, answer: Any, endpoint: Endpoint) -> dict[str, Any]:
        """The choice of an answer of the right model."""
        choice = only_choice(answer, self._client.clean)
        if answer.get("model") != self._settings.served_model:
            named = answer.get("model")
            shown = repr(named) if isinstance(named, str) else f"a {type(named).__name__}"
            raise WrongModelError(
                f"{endpoint.url} was asked for {self._settings.served_model!r} and answered with "
                + self._client.clean(shown)
            )
        return choice


def _path(body: dict[str, Any]) -> str:
    return "chat/completions" if "messages" in body else "completions"
