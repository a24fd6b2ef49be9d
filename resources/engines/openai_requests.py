"""Requests as bodies of the completions and the chat endpoint."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from resources.engines.protocol import GenerationRequest, ScoringRequest
from resources.engines.settings import OpenAiSettings

VLLM_FIELDS = {
    "return_token_ids": True,
    "skip_special_tokens": False,
    "spaces_between_special_tokens": False,
    # vLLM takes these from the model's generation_config.json unless a request says otherwise.
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
"""Sent to vLLM only: other servers may refuse fields that they do not know."""

NAMED_BY_ID = "return_tokens_as_token_ids"
"""Asks vLLM to name likely tokens by id: of their texts several are alike (half characters)."""


class UnsupportedRequestError(ValueError):
    """A request that this endpoint or this server cannot do."""


def check_supported(
    requests: Sequence[GenerationRequest], settings: OpenAiSettings, is_vllm: bool
) -> None:
    """Refuse what the chat endpoint cannot do, before anything is sent.

    Raises:
        UnsupportedRequestError: a prefix to continue, a prompt without messages, or a template
            setting that the server does not take.
    """
    if settings.endpoint == "completions":
        return
    for request in requests:
        if request.prefix_token_ids:
            if is_vllm:  # it has the completions endpoint as well
                continue
            raise UnsupportedRequestError(
                "the chat endpoint cannot continue a given text; use endpoint: completions"
            )
        if not request.prompt.messages:
            raise UnsupportedRequestError(
                "the chat endpoint needs a prompt with its messages, not tokens alone"
            )
        others = sorted({name for name, _ in request.prompt.template_settings} - {_EFFORT})
        if others and not is_vllm:
            raise UnsupportedRequestError(
                f"this server takes no template settings but {_EFFORT}; found: {', '.join(others)}"
            )


_EFFORT = "reasoning_effort"


def generation_body(
    request: GenerationRequest, settings: OpenAiSettings, is_vllm: bool
) -> dict[str, Any]:
    """What is sent for an answer; completions get the exact prompt tokens, chat the messages.

    A prefix to continue always goes to completions: chat templates drop earlier reasoning.
    """
    body: dict[str, Any] = {
        "model": settings.served_model,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": request.max_tokens,
        "seed": request.seed,
        **(VLLM_FIELDS if is_vllm else {}),
        **({NAMED_BY_ID: True} if is_vllm and request.top_logprobs else {}),
    }
    if settings.endpoint == "completions" or request.prefix_token_ids:
        prompt = [*request.prompt.token_ids, *request.prefix_token_ids]
        # vLLM returns the emitted token's logprob beside the asked number of alternatives.
        listed = request.top_logprobs or (0 if is_vllm else 1)
        return {**body, "prompt": prompt, "logprobs": listed}
    template_settings = dict(request.prompt.template_settings)
    effort = template_settings.pop(_EFFORT, None)
    return {
        **body,
        "messages": [{"role": r, "content": text} for r, text in request.prompt.messages],
        "logprobs": True,
        # vLLM's chat endpoint lists the emitted token in the place of a likely one.
        **({"top_logprobs": request.top_logprobs + 1} if request.top_logprobs else {}),
        **({_EFFORT: effort} if effort is not None else {}),
        **({"chat_template_kwargs": template_settings} if template_settings else {}),
    }


def scoring_body(request: ScoringRequest, settings: OpenAiSettings) -> dict[str, Any]:
    """What is sent to score given tokens: vLLM's extension of the completions endpoint."""
    return {
        "model": settings.served_model,
        "prompt": [*request.prompt_token_ids, *request.token_ids],
        "max_tokens": 1,
        "prompt_logprobs": 0,
        # A prefix that another request left in the cache has no logprobs of its own.
        "cache_salt": secrets.token_hex(16),
    }
