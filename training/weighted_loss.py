"""The loss of weighted samples: a weighted mean over the trained tokens of a step.

A sample's weight is that of each of its trained tokens. A step's loss is

    L = Σ_i w_i ℓ_i / Σ_i w_i,   i over the trained tokens of all packed sequences, accumulation
                                 steps and ranks of the global batch

which with all weights 1 is the unweighted one, and with a weight of 2 that of the sample packed
twice. Only what samples weigh beside each other shapes it: twice all weights are the same loss.

The losses of single tokens are not to be had of a model that computes its own loss, still less of
Liger's fused one. So the head is put on the hidden states here, some tokens at a time, and again in
the backward pass: the logits of a whole sequence (64K x 151,936 x 4 bytes = 39 GB) are never there,
with Liger's other kernels or without.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers import Trainer
from transformers.modeling_outputs import CausalLMOutput

from training.dataset import TOKEN_WEIGHTS
from training.errors import TrainingError
from training.isolation import Autocast, ready
from training.samples import NO_LOSS

TOKENS_AT_ONCE = 2_048
"""Tokens whose logits are in memory together."""

HEAD_TOLERANCE = 2.0**-8
"""Of the largest logit: a rounding to bfloat16."""
_TRIED_TOKENS = 32


class WeightedTrainer(Trainer):
    """A Trainer that divides a step's loss by the weights of its trained tokens, on all ranks.

    The Trainer itself divides by their number.
    """

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor | int | None]:
        """The batches of a step, and the sum of the weights of all their trained tokens."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not batches:
            return batches, None
        total = torch.stack([_trained_weight(batch) for batch in batches]).sum().to(device)
        if self.args.world_size > 1:
            total = self.accelerator.gather(total).sum()
        return batches, total


def weigh_losses(model: Any, autocast: Autocast) -> None:
    """Let the model's forward pass weigh its loss by token_weights; without labels it stays as is.

    Args:
        autocast: the precision in which the trainer computes.

    Raises:
        TrainingError: the model's logits or its loss are more than its head on its hidden states.
    """
    _check_head(model, autocast)
    own_forward = model.forward

    def forward(
        *arguments: Any,
        labels: torch.Tensor | None = None,
        token_weights: torch.Tensor | None = None,
        num_items_in_batch: Any = None,
        **inputs: Any,
    ) -> Any:
        if labels is None or token_weights is None:
            return own_forward(*arguments, **inputs)
        hidden = model.base_model(*arguments, **inputs).last_hidden_state
        total = _weighted_losses(model.get_output_embeddings(), hidden, labels, token_weights)
        loss: Any = total / num_items_in_batch
        return CausalLMOutput(loss=loss)

    model.forward = forward


def _weighted_losses(
    head: Any, hidden: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Sum of each trained token's loss times its weight; a token is predicted by the one before."""
    is_trained = labels[:, 1:] != NO_LOSS
    parts = zip(
        hidden[:, :-1][is_trained].split(TOKENS_AT_ONCE),
        labels[:, 1:][is_trained].split(TOKENS_AT_ONCE),
        weights[:, 1:][is_trained].split(TOKENS_AT_ONCE),
        strict=True,
    )

    def losses(states: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return (cross_entropy(head(states).float(), targets, reduction="none") * weight).sum()

    sums = [
        checkpoint(losses, *part, use_reentrant=False, preserve_rng_state=False) for part in parts
    ]
    return torch.stack(sums).sum()


def _trained_weight(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Sum of the weights of the tokens that take loss; a row's first is predicted by none."""
    is_trained = batch["labels"][:, 1:] != NO_LOSS
    return batch[TOKEN_WEIGHTS][:, 1:][is_trained].sum(dtype=torch.float64).float()


def _check_head(model: Any, autocast: Autocast) -> None:
    """Refuse a model that does something to its logits or its loss that is not done here."""
    if getattr(model.config, "output_router_logits", False):
        raise TrainingError(
            "the samples are weighted, but the model adds a loss of its router "
            "(output_router_logits in its config.json), which is not weighed. Set it to false, or "
            "divergence_sampling.weights to {kind: none}."
        )
    with ready(model) as device, torch.no_grad(), autocast():
        ids = torch.arange(_TRIED_TOKENS, device=device)[None] % model.config.vocab_size
        own = model(input_ids=ids).logits.float()
        of_head = model.get_output_embeddings()(model.base_model(input_ids=ids).last_hidden_state)
        apart, largest = float((own - of_head.float()).abs().max()), float(own.abs().max())
    if not apart <= HEAD_TOLERANCE * largest:
        raise TrainingError(
            f"the samples are weighted, but the logits of {type(model).__name__} are not those of "
            f"its head on its hidden states: they differ by {apart:.3g} (largest: {largest:.3g}), "
            "so that their loss cannot be weighed. Set divergence_sampling.weights to {kind: none}."
        )
