"""Shapes of the two models."""

from __future__ import annotations

from functools import partial

import torch
from transformers import (
    GptOssConfig,
    GptOssForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tools.tiny_world.tokenizers import MAX_POSITIONS

# The libraries' default of 0.02 suits wide models; at this width attention would start out flat.
INITIALIZER_RANGE = 0.08
# Of the heads that start out looking back: the size of their biases, the frequencies that have
# one (the highest), and what is left of their random weights.
LOOK_BACK_BIAS, N_LOOK_BACK_PAIRS, LOOK_BACK_WEIGHTS = 6.0, 10, 0.1
STUDENT_ROPE_THETA = 10000.0
ROPE = {"rope_type": "default", "rope_theta": STUDENT_ROPE_THETA}
# Short texts: the lowest of the teacher's 16 frequencies turns once in about 4,000 positions.
TEACHER_ROPE_THETA = 1000.0
# Factor 1 stretches nothing; vLLM takes every gpt-oss model to have YaRN's settings, as the real
# ones do.
YARN = {
    "rope_type": "yarn", "rope_theta": TEACHER_ROPE_THETA, "factor": 1.0,
    "beta_fast": 32.0, "beta_slow": 1.0, "original_max_position_embeddings": MAX_POSITIONS,
}  # fmt: skip


def new_teacher(tokenizer: PreTrainedTokenizerFast) -> GptOssForCausalLM:
    """An untrained mixture-of-experts model (4 experts, 2 per token) of the gpt-oss kind."""
    ends = tokenizer.convert_tokens_to_ids(["<|return|>", "<|call|>", "<|endoftext|>"])
    config = GptOssConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=96,
        num_hidden_layers=3,
        num_local_experts=4,
        num_experts_per_tok=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        sliding_window=256,
        max_position_embeddings=MAX_POSITIONS,
        rope_parameters=YARN,
        initializer_range=INITIALIZER_RANGE,
        eos_token_id=ends,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = GptOssForCausalLM(config)
    model.set_experts_implementation("grouped_mm")  # trains a sixth faster than the default loop
    _look_back(model)
    return model


def looking(head_dim: int, theta: float, n_pairs: int, distance: int) -> torch.Tensor:
    """R(-distance) b: a query of this direction looks so far back for keys of b (distance 0)."""
    angles = distance * theta ** (-torch.arange(head_dim // 2) / (head_dim // 2))
    looks = torch.where(torch.arange(head_dim // 2) < n_pairs, 1.0, 0.0)
    return torch.cat([looks * angles.cos(), -looks * angles.sin()])


@torch.no_grad()
def _look_back(model: GptOssForCausalLM) -> None:
    """Start the first layer's heads of the first key head out looking 1, 2, … tokens back.

    Copying from the prompt builds on a head that sees what stood before; to find it by chance
    takes longer than all the rest of the training. With `R(d)` the rotation of d positions, the
    biases k = b and q = R(-d) b make a score that is largest d tokens back, whatever they are.
    """
    config = model.config
    attention = model.model.layers[0].self_attn
    looks = partial(looking, config.head_dim, TEACHER_ROPE_THETA, N_LOOK_BACK_PAIRS)
    keys = slice(config.head_dim)
    attention.k_proj.weight[keys] *= LOOK_BACK_WEIGHTS
    attention.k_proj.bias[keys] = LOOK_BACK_BIAS * looks(0)
    for head in range(config.num_attention_heads // config.num_key_value_heads):
        queries = slice(head * config.head_dim, (head + 1) * config.head_dim)
        attention.q_proj.weight[queries] *= LOOK_BACK_WEIGHTS
        attention.q_proj.bias[queries] = LOOK_BACK_BIAS * looks(head + 1)


def new_student(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """An untrained dense model of the Qwen3 kind, smaller than the teacher."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=112,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=MAX_POSITIONS,
        rope_parameters=ROPE,
        initializer_range=INITIALIZER_RANGE,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen3ForCausalLM(config)
