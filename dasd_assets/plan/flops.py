"""FLOP of a token: what a GPU's speed comes to, at which length.

A forward pass takes 2 FLOP for each parameter that the token goes through, and in each layer 4 for
each unit of its heads and each token it looks back at: 2 for the scores, 2 for their weighted sum.
This is a third of the 6 N + 12 L H Q T of a training step in appendix B of PaLM (arXiv 2204.02311),
with the tokens looked back at in the place of T, as attention is causal. A backward pass takes two
forward passes.
"""

from __future__ import annotations

from dataclasses import dataclass

from dasd_assets.profile import ModelShape
from training.settings import Training

FORWARD = 1
"""Passes of a token that is sampled or scored."""


@dataclass(frozen=True)
class TokenFlops:
    """FLOP of one token on average.

    Attributes:
        work: which asset's token.
        context: tokens that it looks back at.
        passes: forward, or as long as a forward pass.
        parameters: of all passes, for the weights.
        attention: of all passes, for the context.
    """

    work: str
    context: float
    passes: int
    parameters: float
    attention: float

    @property
    def total(self) -> float:
        """For weights and context."""
        return self.parameters + self.attention


def token_flops(work: str, shape: ModelShape, context: float, passes: int) -> TokenFlops:
    """FLOP of a token that looks back at `context` tokens.

    Layers with a sliding window are left out of attention: their windows are short.
    """
    parameters = 2 * (shape.active_parameters or shape.parameters)
    layers = shape.layers if shape.full_attention_layers is None else shape.full_attention_layers
    attention = 4 * layers * shape.heads * shape.head_dim * context
    return TokenFlops(work, context, passes, passes * parameters, passes * attention)


def training_passes(training: Training) -> int:
    """Forward, backward, and with gradient checkpointing forward once more."""
    return 4 if training.gradient_checkpointing else 3
