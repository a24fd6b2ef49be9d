"""Logprob and rank of given tokens, without the full-vocabulary logits of a sequence.

64K tokens x 151,936 entries x 4 bytes would be 39 GB: hidden states go through the output layer a
few positions at a time, and only where an answer token is predicted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from resources.engines.protocol import ScoringRequest, TokenScores

LOGITS_BYTES = 256 * 1024**2
"""Memory that float32 logits of one chunk of positions may take."""


def batches_by_length(
    requests: Sequence[ScoringRequest], max_tokens: int
) -> Iterator[list[ScoringRequest]]:
    """Requests of like length together, each batch within a budget of padded tokens."""
    ordered = sorted(requests, key=_n_tokens, reverse=True)
    batch: list[ScoringRequest] = []
    for request in ordered:
        if batch and (len(batch) + 1) * _n_tokens(batch[0]) > max_tokens:
            yield batch
            batch = []
        batch.append(request)
    if batch:
        yield batch


def _n_tokens(request: ScoringRequest) -> int:
    return len(request.prompt_token_ids) + len(request.token_ids)


@torch.inference_mode()
def score_batch(model: Any, requests: Sequence[ScoringRequest], pad_id: int) -> list[TokenScores]:
    """Score a batch in one forward pass.

    Args:
        model: causal language model: a base model and an output layer.
        requests: prompts must not be empty, since the first token is predicted from them.
        pad_id: any valid id; sequences are padded on the right.
    """
    device = next(model.parameters()).device
    width = max(map(_n_tokens, requests))
    input_ids = torch.full((len(requests), width), pad_id, dtype=torch.long)
    mask = torch.zeros((len(requests), width), dtype=torch.long)
    answers = torch.zeros((len(requests), width), dtype=torch.bool)
    for row, request in enumerate(requests):
        end, start = _n_tokens(request), len(request.prompt_token_ids)
        input_ids[row, :end] = torch.tensor((*request.prompt_token_ids, *request.token_ids))
        mask[row, :end] = 1
        answers[row, start - 1 : end - 1] = True
    targets = torch.roll(input_ids, -1, dims=1)[answers].to(device)
    hidden = model.base_model(
        input_ids=input_ids.to(device), attention_mask=mask.to(device), use_cache=False
    ).last_hidden_state[answers.to(device)]
    output_layer = model.get_output_embeddings()
    chunk = max(1, LOGITS_BYTES // (4 * output_layer.weight.shape[0]))
    logprobs = np.empty(len(targets), np.float32)
    ranks = np.empty(len(targets), np.int32)
    for start in range(0, len(targets), chunk):
        part = slice(start, start + chunk)
        logits = output_layer(hidden[part]).float()
        chosen = logits.gather(1, targets[part, None])
        logprobs[part] = (chosen[:, 0] - logits.logsumexp(-1)).cpu().numpy()
        ranks[part] = ((logits > chosen).sum(-1) + 1).int().cpu().numpy()
    ends = np.cumsum([len(request.token_ids) for request in requests])[:-1]
    return [
        TokenScores(request.key, request_logprobs, request_ranks)
        for request, request_logprobs, request_ranks in zip(
            requests, np.split(logprobs, ends), np.split(ranks, ends), strict=True
        )
    ]
