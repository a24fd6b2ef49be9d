"""Tiny random models with real architectures, saved as model folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GptOssConfig,
    GptOssForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from resources.engines.settings import TransformersSettings
from resources.engines.transformers_engine import TransformersEngine

CORPUS = ["What is 2 + 3? The sum of 2 and 3 is 5.", "Größe, naïve, 数学, 思考, 🙂🙃 — so x² = 4."]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SHAPE = {
    "vocab_size": 352,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,  # far from uniform, so that a wrong distribution shows
}


def build_tokenizer() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        CORPUS * 4,
        trainers.BpeTrainer(
            vocab_size=320,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=["<|im_start|>", "<|im_end|>"],
            show_progress=False,
        ),
    )
    backend.add_tokens([AddedToken("<think>", special=False), AddedToken("</think>")])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", chat_template=TEMPLATE
    )


def build_model(architecture: str, eos_id: int) -> Any:
    torch.manual_seed(7)
    shared = {**SHAPE, "eos_token_id": eos_id, "pad_token_id": None}
    if architecture == "qwen3":
        return Qwen3ForCausalLM(
            Qwen3Config(**shared, intermediate_size=48, tie_word_embeddings=True)
        )
    return GptOssForCausalLM(
        GptOssConfig(
            **shared,
            intermediate_size=32,
            num_local_experts=4,
            num_experts_per_tok=2,
            sliding_window=8,  # shorter than the prompts, so that the window matters
        )
    )


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    tokenizer = build_tokenizer()
    folders = {}
    for architecture in ("qwen3", "gpt_oss"):
        folders[architecture] = tmp_path_factory.mktemp("models") / architecture
        build_model(architecture, tokenizer.eos_token_id).save_pretrained(folders[architecture])
        tokenizer.save_pretrained(folders[architecture])
    return folders


@pytest.fixture(scope="session", params=["qwen3", "gpt_oss"])
def engine(request: pytest.FixtureRequest, model_folders: dict[str, Path]) -> TransformersEngine:
    return TransformersEngine(
        str(model_folders[request.param]),
        TransformersSettings(dtype="float32", device="cpu", batch_size=8),
    )
