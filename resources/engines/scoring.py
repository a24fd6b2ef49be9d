"""Logprob and rank of given tokens, without the full-vocabulary logits of a sequence.

64K tokens x 151,936 entries x 4 bytes would be 39 GB: hidden states go through the output layer a
few hundred positions at a time, into buffers that are used again, and only where an answer token
is predicted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from resources.engines.protocol import ScoringRequest, TokenScores

CHUNK_POSITIONS = {"cpu": 256, "cuda": 2048}
"""Positions whose logits are held at once: every chunk reads all output weights from memory once,
so fewer positions leave the processor waiting."""
CACHE_BYTES = 4 * 1024**2
"""Float32 logits that stay in a processor's cache. A chunk may take this much whatever its number
of positions; on CPU, logits are compared and summed in parts of this size."""


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
        model: causal language model: a base model and a linear output layer.
        requests: the first token is predicted from the prompt, so no prompt may be empty.
        pad_id: any valid id; sequences are padded on the right.

    Raises:
        ValueError: a prompt is empty, naming the request.
    """
    for request in requests:
        if not request.prompt_token_ids:
            raise ValueError(f"{request.key}: no prompt that the first token could follow")
    device = next(model.parameters()).device
    # Nothing is predicted from a sequence's last token: it only stands in `following`.
    width = max(2, *map(_n_tokens, requests)) - 1
    input_ids = torch.full((len(requests), width), pad_id, dtype=torch.long)
    following = torch.full_like(input_ids, pad_id)
    is_answer = torch.zeros(input_ids.shape, dtype=torch.bool)
    for row, request in enumerate(requests):
        ids = torch.tensor((*request.prompt_token_ids, *request.token_ids))
        input_ids[row, : len(ids) - 1] = ids[:-1]
        following[row, : len(ids) - 1] = ids[1:]
        is_answer[row, len(request.prompt_token_ids) - 1 : len(ids) - 1] = True
    # No attention mask: what is padded on the right lies in every answer's future. A mask would
    # be quadratic in the length and keep attention from its fast kernels.
    hidden = model.base_model(
        input_ids=input_ids.to(device), use_cache=False
    ).last_hidden_state[is_answer.to(device)]  # fmt: skip
    logprobs, ranks = logprobs_and_ranks(
        hidden, following[is_answer].to(device), model.get_output_embeddings()
    )
    ends = np.cumsum([len(request.token_ids) for request in requests])[:-1]
    return [
        TokenScores(request.key, request_logprobs, request_ranks)
        for request, request_logprobs, request_ranks in zip(
            requests,
            np.split(logprobs.cpu().numpy(), ends),
            np.split(ranks.cpu().numpy(), ends),
            strict=True,
        )
    ]


def logprobs_and_ranks(
    hidden: torch.Tensor, targets: torch.Tensor, output_layer: torch.nn.Linear
) -> tuple[torch.Tensor, torch.Tensor]:
    """Natural-log probability and rank of one token per position.

    The matrix product runs in the weights' type, softmax in float32. A rank is one more than the
    number of tokens with a strictly larger logit: tied tokens share the better rank.

    Args:
        hidden: (positions, hidden size), in the weights' type.
        targets: (positions,), token ids.

    Returns:
        float32 and int32, (positions,).
    """
    weight, bias = output_layer.weight, output_layer.bias
    n_positions, n_vocabulary = len(targets), len(weight)
    device = hidden.device
    n_cached = max(1, CACHE_BYTES // (4 * n_vocabulary))
    n_rows = max(1, min(max(CHUNK_POSITIONS.get(device.type, 256), n_cached), n_positions))
    n_part = min(n_cached, n_rows) if device.type == "cpu" else n_rows
    # Buffers are kept: on CPU, touching fresh memory costs more than the computation.
    products = torch.empty((n_rows, n_vocabulary), dtype=weight.dtype, device=device)
    work = torch.empty((n_part, n_vocabulary), dtype=torch.float32, device=device)
    logprobs = torch.empty(n_positions, dtype=torch.float32, device=device)
    ranks = torch.empty(n_positions, dtype=torch.int32, device=device)
    for start in range(0, n_positions, n_rows):
        part = slice(start, start + n_rows)
        target = targets[part, None]
        product = torch.mm(hidden[part], weight.t(), out=products[: len(target)])
        if bias is not None:
            product += bias
        of_target = product.gather(1, target).float()
        for first in range(0, len(target), n_part):
            few = slice(first, first + n_part)
            logits = product[few].float()
            rows = slice(start + first, start + first + len(logits))
            mine = work[: len(logits)]
            # Counting in float32 is exact to 2**24 and needs no wide temporaries.
            ranks[rows] = torch.gt(logits, of_target[few], out=mine).sum(-1).int() + 1
            torch.log_softmax(logits, -1, out=mine)
            logprobs[rows] = mine.gather(1, target[few])[:, 0]
    return logprobs, ranks
