"""What all engines share: rendering chats, checking requests against the context, end tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from formats.chat import for_template, prompt_tokens
from formats.encoding import encode_texts
from resources.engines.model_folder import ModelFolderError
from resources.engines.protocol import (
    ContextLengthError,
    GenerationRequest,
    InferenceEngine,
    Prompt,
    ScoringRequest,
)


def render_chat(
    tokenizer: Any, messages: list[dict[str, str]], template_settings: dict[str, Any]
) -> Prompt:
    """A chat as exact prompt tokens by the tokenizer's own template, ready for an answer.

    A `template_date` among the settings is part of the tokens, where the template prints it.
    """
    of_template = {k: value for k, value in template_settings.items() if k != "template_date"}
    return Prompt(
        token_ids=tuple(prompt_tokens(tokenizer, messages, **template_settings)),
        messages=tuple(
            (message["role"], message["content"]) for message in for_template(tokenizer, messages)
        ),
        template_settings=tuple(sorted(of_template.items())),
    )


def encode_pieces(
    tokenizer: Any, marked: Sequence[tuple[str, str]]
) -> list[tuple[list[int], list[int]]]:
    """Tokens of the mark and of the text of each piece of text behind a mark of a model's format.

    A mark is encoded as the format's special tokens. The text behind it was written by somebody,
    and is encoded as text: what spells a special token in it does not become one.

    Args:
        marked: (mark, text) of each piece, for example ("<|channel|>final<|message|>", "It is").

    Raises:
        ModelFolderError: the tokenizer makes special tokens of plain text whatever it is told.
    """
    special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    pieces = []
    for mark, text in marked:
        (plain,) = encode_texts(tokenizer, [text], split_special_tokens=True)
        if not special.isdisjoint(plain):
            raise ModelFolderError(
                f"{tokenizer.name_or_path}: the tokenizer does not honour split_special_tokens: it "
                "makes special tokens of what spells one in plain text. Use the fast tokenizer "
                "(tokenizer.json)"
            )
        pieces.append((encode_texts(tokenizer, [mark])[0], plain))
    return pieces


def context_problem(request: GenerationRequest, context: int, model: str) -> str | None:
    """Why a request does not fit into a context of so many tokens, or None."""
    prompt = len(request.prompt.token_ids) + len(request.prefix_token_ids)
    if prompt + request.max_tokens <= context:
        return None
    return (
        f"{prompt} prompt tokens and {request.max_tokens} new ones are beyond the context of "
        f"{context} tokens of {model}"
    )


def check_generation(engine: InferenceEngine, requests: Sequence[GenerationRequest]) -> None:
    """Refuse a call with a request that cannot be answered, before anything is sampled.

    Raises:
        ContextLengthError: naming the first request that does not fit.
    """
    for request in requests:
        problem = engine.check(request)
        if problem:
            raise ContextLengthError(f"request {request.key(engine.identity)[:12]}: {problem}")


def check_scoring(requests: Sequence[ScoringRequest], context: int) -> None:
    """Refuse a call with tokens that do not fit, before anything is scored.

    Raises:
        ContextLengthError: naming the first request that does not fit.
    """
    for request in requests:
        n_tokens = len(request.prompt_token_ids) + len(request.token_ids)
        if n_tokens > context:
            raise ContextLengthError(
                f"{request.key}: {n_tokens} tokens are beyond the context of {context}"
            )
