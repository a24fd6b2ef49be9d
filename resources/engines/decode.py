"""Batched sampling with a key-value cache, one random stream per request.

Why not `model.generate`: it has no per-request seeds, it keeps computing finished rows until the
last one ends, and it returns raw logprobs only by keeping every step's full logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from resources.engines.protocol import NO_TOP, Completion, GenerationRequest, TopLogprobs

COMPACT_BELOW = 0.75
"""Finished rows are dropped from the cache once the live share of the batch is below this."""

NOISE_BLOCK = 64
"""Steps of random numbers drawn at once per request."""

_Top = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]


@torch.inference_mode()
def sample_batch(
    model: Any,
    requests: Sequence[GenerationRequest],
    keys: Sequence[str],
    stop_ids: frozenset[int],
    pad_id: int,
    on_step: Callable[[int], None] = lambda under_way: None,
) -> Iterator[Completion]:
    """Sample one batch; each completion is yielded when it ends.

    A request's tokens depend on its own seed and position only, not on its neighbours in the
    batch, up to the floating-point rounding of a batched matrix product.

    Args:
        model: causal language model with a transformers cache.
        requests: what to sample; prompts are padded on the left.
        keys: key of each request.
        stop_ids: ids that end an answer.
        pad_id: any valid id; padding is masked out.
        on_step: is told after each step how many tokens the unfinished answers have.
    """
    device = next(model.parameters()).device
    prompts = [(*request.prompt.token_ids, *request.prefix_token_ids) for request in requests]
    width = max(map(len, prompts))
    input_ids = torch.full((len(prompts), width), pad_id, dtype=torch.long)
    mask = torch.zeros((len(prompts), width), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        input_ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    input_ids, mask = input_ids.to(device), mask.to(device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)

    live = np.arange(len(requests))
    emitted: list[list[int]] = [[] for _ in requests]
    logprobs: list[list[float]] = [[] for _ in requests]
    tops: list[list[_Top]] = [[] for _ in requests]
    k = max(request.top_logprobs for request in requests)
    sampler = _Sampler(requests, device)
    cache = None
    stops = torch.tensor(sorted(stop_ids), device=device)
    step = 0
    while len(live):
        output = model(
            input_ids=input_ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = output.past_key_values
        raw = torch.log_softmax(output.logits[:, -1].float(), dim=-1)
        tokens, chosen_logprobs = sampler.draw(raw, step)
        top = _top(raw, k)
        step += 1
        stopped = torch.isin(tokens, stops).tolist()
        going = []
        for row, (index, token, logprob) in enumerate(
            zip(live.tolist(), tokens.tolist(), chosen_logprobs.tolist(), strict=True)
        ):
            if index < 0:
                continue
            emitted[index].append(token)
            logprobs[index].append(logprob)
            if top and (n := requests[index].top_logprobs):
                tops[index].append((top[0][row, :n], top[1][row, :n]))
            if stopped[row] or step >= requests[index].max_tokens:
                live[row] = -1
                yield Completion(
                    key=keys[index],
                    token_ids=np.asarray(emitted[index], np.int32),
                    logprobs=np.asarray(logprobs[index], np.float32),
                    finish_reason="stop" if stopped[row] else "length",
                    top=_stacked(tops[index]),
                )
            else:
                going.append(row)
        if not going:
            return
        on_step(len(going) * step)
        if len(going) < COMPACT_BELOW * len(live):
            keep = torch.tensor(going, device=device)
            cache.batch_select_indices(keep)
            mask, tokens, positions = mask[keep], tokens[keep], positions[keep]
            live = live[going]
            sampler.select(keep)
        input_ids = tokens[:, None]
        mask = torch.cat([mask, mask.new_ones((len(live), 1))], dim=1)
        positions = positions[:, -1:] + 1


def _top(raw: torch.Tensor, k: int) -> _Top | None:
    """Ids and logprobs of the k likeliest tokens of each row, (rows, k), the likeliest first."""
    if not k:
        return None
    values, ids = raw.topk(k, dim=-1)
    return ids.to(torch.int32).cpu().numpy(), values.cpu().numpy()


def _stacked(rows: list[_Top]) -> TopLogprobs:
    """The rows of an answer, one a token."""
    return TopLogprobs(*(np.stack(part) for part in zip(*rows, strict=True))) if rows else NO_TOP


class _Sampler:
    """Temperature, top_p and inverse-CDF sampling for the rows of a batch."""

    def __init__(self, requests: Sequence[GenerationRequest], device: torch.device) -> None:
        self._temperatures = torch.tensor(
            [request.temperature for request in requests], device=device
        )
        self._top_ps = torch.tensor([request.top_p for request in requests], device=device)
        self._generators = [
            np.random.Generator(np.random.Philox(request.seed)) for request in requests
        ]
        self._uniforms = torch.empty(0, device=device)
        self._device = device

    def select(self, rows: torch.Tensor) -> None:
        """Keep some rows of the batch."""
        self._temperatures = self._temperatures[rows]
        self._top_ps = self._top_ps[rows]
        self._generators = [self._generators[row] for row in rows.tolist()]
        self._uniforms = self._uniforms[rows]

    def draw(self, raw: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """One token per row and its raw logprob.

        Args:
            raw: logprobs at temperature 1, float32 (rows, vocabulary).
            step: 0-based index of the token in its answer.
        """
        if step % NOISE_BLOCK == 0:
            block = np.stack([g.random(NOISE_BLOCK) for g in self._generators])
            self._uniforms = torch.from_numpy(block).to(self._device)
        greedy = self._temperatures == 0
        scaled = raw / self._temperatures.masked_fill(greedy, 1.0)[:, None]
        probabilities = torch.softmax(scaled, dim=-1)
        if bool((self._top_ps < 1.0).any()):
            probabilities = _nucleus(probabilities, self._top_ps)
        cumulative = probabilities.double().cumsum(-1)
        targets = self._uniforms[:, step % NOISE_BLOCK, None] * cumulative[:, -1:]
        tokens = torch.searchsorted(cumulative, targets, right=True)[:, 0]
        tokens = tokens.clamp(max=raw.shape[-1] - 1)
        tokens = torch.where(greedy, raw.argmax(-1), tokens)
        return tokens, raw.gather(1, tokens[:, None])[:, 0]


def _nucleus(probabilities: torch.Tensor, top_ps: torch.Tensor) -> torch.Tensor:
    """Zero all but the likeliest tokens that together reach top_p."""
    ordered, order = probabilities.sort(dim=-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    ordered = ordered.masked_fill(before >= top_ps[:, None], 0.0)
    return torch.zeros_like(probabilities).scatter(1, order, ordered)
