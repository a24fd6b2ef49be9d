"""The probabilities of given tokens, as vLLM lists them (`prompt_logprobs`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from resources.engines.openai_answers import logprob_or_nan
from resources.engines.openai_bodies import MalformedAnswerError
from resources.engines.protocol import ScoringRequest, TokenScores

LARGEST_RANK = 2**31 - 1


def scores_of(listed: Any, request: ScoringRequest) -> TokenScores:
    """Logprob and rank of each given token; NaN and 0 where the server lists none.

    Args:
        listed: for each token of prompt and answer None, or token id -> {logprob, rank}.

    Raises:
        MalformedAnswerError: another layout, or the entries are of other tokens.
    """
    n_prompt, n_tokens = len(request.prompt_token_ids), len(request.token_ids)
    if not isinstance(listed, list) or len(listed) != n_prompt + n_tokens:
        n_listed = len(listed) if isinstance(listed, list) else "no list of"
        raise MalformedAnswerError(f"{n_listed} logprobs for {n_prompt + n_tokens} tokens")
    logprobs, ranks = [], []
    for token, entry in zip(request.token_ids, listed[n_prompt:], strict=True):
        found = {} if entry is None else _entry_of(token, entry)
        logprobs.append(logprob_or_nan(found.get("logprob")))
        ranks.append(_rank(found.get("rank")))
    return TokenScores(request.key, np.array(logprobs, np.float32), np.array(ranks, np.int32))


def _entry_of(token: int, entry: Any) -> dict[str, Any]:
    found = entry.get(str(token)) if isinstance(entry, dict) else None
    if not isinstance(found, dict):
        raise MalformedAnswerError(f"prompt_logprobs of other tokens than the given {token}")
    return found


def _rank(value: Any) -> int:
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value <= LARGEST_RANK:
        raise MalformedAnswerError("a rank in prompt_logprobs that is none")
    return value
