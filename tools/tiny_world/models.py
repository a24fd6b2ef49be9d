"""Shapes of the two models, and what they begin with: heads that copy."""

from __future__ import annotations

from typing import Final

import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from tools.tiny_world.tokenizers import MAX_POSITIONS

# The libraries' default of 0.02 suits wide models; at this width attention would start out flat.
INITIALIZER_RANGE: Final = 0.08
HEAD_DIM: Final = 32
ROPE_THETA: Final = 10000.0
# The value that all embeddings share in their first dimension, which stands for a bias.
CONSTANT: Final = 0.5
# Frequencies, of HEAD_DIM / 2: so many of the highest look back; so many of the lowest, which
# hardly turn over the length of an answer, find what matches. Queries and keys are normed, and
# scaled by so much.
N_LOOK_BACK_PAIRS: Final = 5
N_MATCH_PAIRS: Final = 7
ATTENTION_NORM: Final = 1.7
COPIED_SCALE: Final = 0.1


def new_teacher(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """An untrained model, larger than the student."""
    ends = tokenizer.convert_tokens_to_ids(["<|return|>", "<|call|>", "<|endoftext|>"])
    return _new_model(tokenizer, ends, hidden_size=128, intermediate_size=384)


def new_student(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """An untrained model, smaller than the teacher."""
    return _new_model(tokenizer, tokenizer.eos_token_id, hidden_size=112, intermediate_size=256)


@torch.no_grad()
def sharpen(model: Qwen3ForCausalLM, factor: float) -> None:
    """Multiply all logits, in place: what was T = 1 before is T = `factor` after.

    Training on rewards makes a reasoning model's distribution narrower than that of the texts it
    has read. Without it, a model of this size says a wrong digit in each third answer at T = 1.
    """
    model.model.norm.weight *= factor


def _new_model(
    tokenizer: PreTrainedTokenizerFast,
    ends: int | list[int],
    hidden_size: int,
    intermediate_size: int,
) -> Qwen3ForCausalLM:
    """A dense model of the Qwen3 kind that copies."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=HEAD_DIM,
        max_position_embeddings=MAX_POSITIONS,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        initializer_range=INITIALIZER_RANGE,
        tie_word_embeddings=True,
        eos_token_id=ends,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen3ForCausalLM(config)
    _look_back(model)
    _find_again(model)
    return model


def looking(distance: int) -> torch.Tensor:
    """R(-distance) b: a query of this direction looks so far back for keys of b (distance 0).

    With R(d) the rotation of d positions, such a pair makes a score that is largest d tokens back,
    whatever the tokens are.
    """
    half = HEAD_DIM // 2
    angles = distance * ROPE_THETA ** (-torch.arange(half) / half)
    looks = torch.where(torch.arange(half) < N_LOOK_BACK_PAIRS, 1.0, 0.0)
    return torch.cat([looks * angles.cos(), -looks * angles.sin()])


@torch.no_grad()
def _look_back(model: Qwen3ForCausalLM) -> None:
    """Start the first layer's heads of the first key head out looking 1, 2, … tokens back."""
    model.model.embed_tokens.weight[:, 0] = CONSTANT
    attention = model.model.layers[0].self_attn
    attention.k_proj.weight[:HEAD_DIM, 0] = looking(0)
    for head in range(attention.num_key_value_groups):
        queries = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
        attention.q_proj.weight[queries, 0] = looking(head + 1)
    attention.q_norm.weight *= ATTENTION_NORM
    attention.k_norm.weight *= ATTENTION_NORM


@torch.no_grad()
def _find_again(model: Qwen3ForCausalLM) -> None:
    """Start the second layer's first heads out finding what stood before what follows.

    The first layer writes the token before, through its values, to dimensions that no embedding
    uses; the second looks there for the token it stands at. So it sees what followed that token
    earlier (an induction head). Found by chance, it takes longer than all the rest of the training.
    All other layers start out writing nothing, or the token would drown in what they write.
    """
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    first, second = (layer.self_attn for layer in model.model.layers[:2])
    copied = slice(1, 1 + HEAD_DIM)
    model.model.embed_tokens.weight[:, copied] = 0
    first.v_proj.weight[:HEAD_DIM, : 1 + HEAD_DIM] = 0
    first.o_proj.weight[copied, :HEAD_DIM] = COPIED_SCALE * torch.eye(HEAD_DIM)
    half = HEAD_DIM // 2
    lowest = torch.arange(half - N_MATCH_PAIRS, half)
    matching = torch.cat([lowest, half + lowest])
    for projection in (second.q_proj, second.k_proj):
        projection.weight[:HEAD_DIM] = 0
    second.q_proj.weight[matching] = first.v_proj.weight[matching]
    second.k_proj.weight[matching, 1 + matching] = 1.0
    second.q_norm.weight *= ATTENTION_NORM
    second.k_norm.weight *= ATTENTION_NORM
