"""Shapes of the two models."""

from __future__ import annotations

from transformers import (
    GptOssConfig,
    GptOssForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from training.tiny_world.tokenizers import MAX_POSITIONS

# The libraries' default of 0.02 suits wide models; at this width attention would start out flat.
INITIALIZER_RANGE = 0.08
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
# Factor 1 stretches nothing; vLLM takes every gpt-oss model to have YaRN's settings, as the real
# ones do.
YARN = {
    **ROPE, "rope_type": "yarn", "factor": 1.0, "beta_fast": 32.0, "beta_slow": 1.0,
    "original_max_position_embeddings": MAX_POSITIONS,
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
    return GptOssForCausalLM(config)


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
