"""What the small world does to the tiny one's models: a student that looks back, sharpening."""

from __future__ import annotations

from functools import partial
from typing import Final

import torch
from transformers import GptOssForCausalLM, PreTrainedTokenizerFast, Qwen3ForCausalLM

from tools.tiny_world import models
from tools.tiny_world.models import STUDENT_ROPE_THETA, looking

# The value that all embeddings share in one dimension; the frequencies that look back (the highest)
# and by how much queries and keys, which are normed, are scaled.
CONSTANT: Final = 0.5
N_LOOK_BACK_PAIRS: Final = 5
LOOK_BACK_NORM: Final = 1.7


@torch.no_grad()
def sharpen(model: GptOssForCausalLM, factor: float) -> None:
    """Multiply all logits, in place: what was T = 1 before is T = `factor` after.

    Training on rewards makes a reasoning model's distribution narrower than that of the texts it
    has read. Without it, a model of this size says a wrong digit in each third answer at T = 1.
    """
    model.model.norm.weight *= factor


def new_student(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """The tiny world's untrained student, begun with heads that look back."""
    model = models.new_student(tokenizer)
    _look_back(model)
    return model


@torch.no_grad()
def _look_back(model: Qwen3ForCausalLM) -> None:
    """Start the first layer's heads of the first key head out looking 1, 2, … tokens back.

    As the tiny world's teacher, but its projections have no biases and it norms queries and keys. A
    first dimension that is alike in all embeddings stands for the bias.
    """
    config = model.config
    model.model.embed_tokens.weight[:, 0] = CONSTANT
    attention = model.model.layers[0].self_attn
    looks = partial(looking, config.head_dim, STUDENT_ROPE_THETA, N_LOOK_BACK_PAIRS)
    attention.k_proj.weight[: config.head_dim, 0] = looks(0)
    for head in range(attention.num_key_value_groups):
        queries = slice(head * config.head_dim, (head + 1) * config.head_dim)
        attention.q_proj.weight[queries, 0] = looks(head + 1)
    attention.q_norm.weight *= LOOK_BACK_NORM
    attention.k_norm.weight *= LOOK_BACK_NORM
