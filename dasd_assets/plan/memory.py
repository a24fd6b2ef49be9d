"""Whether settings fit into the declared GPUs, by explicit formulas (docs/plan.md has them).

GiB are 1024^3 bytes. Everything counts the worst case that the settings allow: answers that all run
to their cap. What fails by the weights alone cannot work; what only fails at the caps may.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from dasd_assets.models.training_memory import PARAMETER_BYTES, training_problem
from dasd_assets.profile import ModelShape
from resources.compute.declared import GIB, Compute
from resources.engines.settings import (
    EngineSettings,
    OpenAiSettings,
    SyntheticSettings,
    VllmSettings,
)
from training.settings import Training

CACHE_BYTES = 2
"""Of one value of the key-value cache."""


@dataclass(frozen=True)
class Finding:
    """Something about a plan that its user should know: it cannot work, or might not."""

    level: Literal["problem", "warning", "hint"]
    about: str
    text: str


def cache_bytes(shape: ModelShape) -> int:
    """Key-value cache of one token: 2 x layers x heads x width x 2 bytes.

    Layers with a sliding window are left out: what they keep does not grow with the context.
    """
    layers = shape.layers if shape.full_attention_layers is None else shape.full_attention_layers
    return 2 * layers * shape.kv_heads * shape.head_dim * CACHE_BYTES


def weight_bytes(shape: ModelShape, dtype: str) -> float:
    """Bytes of the weights: of the files if they are known, else of the type."""
    return shape.weight_bytes or shape.parameters * PARAMETER_BYTES[dtype]


def inference_findings(
    name: str,
    engine: EngineSettings,
    shape: ModelShape | None,
    compute: Compute,
    context: int,
    mean_tokens: float,
) -> Iterator[Finding]:
    """What speaks against running a model as declared.

    Args:
        name: the setting, for the messages.
        shape: size of the model; None: nothing can be said.
        context: tokens of the longest prompt and answer.
        mean_tokens: of a prompt and answer on average.
    """
    if isinstance(engine, OpenAiSettings | SyntheticSettings):
        return
    if not compute.gpus or not compute.gpu_memory_gib:
        return
    if shape is None:
        yield Finding("hint", name, "memory is not checked: the size of the model is not known")
        return
    memory = compute.gpu_memory_gib * GIB
    weights, per_token = weight_bytes(shape, engine.dtype), cache_bytes(shape)
    if isinstance(engine, VllmSettings):
        cut = engine.tensor_parallel_size
        if shape.kv_heads % cut and cut % shape.kv_heads:
            yield Finding(
                "problem", name,
                f"tensor_parallel_size {cut} and {shape.kv_heads} key-value heads: one must divide "
                "the other, or vLLM does not start",
            )  # fmt: skip
        yield from _vllm(name, engine, compute, weights, per_token, context, mean_tokens)
        return
    if compute.gpus > 1:
        yield Finding(
            "warning", name,
            f"the transformers engine uses one GPU of the {compute.gpus} declared. Use `kind: "
            f"vllm` with tensor_parallel_size {compute.gpus}, or declare one",
        )  # fmt: skip
    cache = engine.batch_size * context * per_token
    if weights > memory:
        yield Finding(
            "problem", name,
            f"weights of {_gib(weights)} do not fit into one GPU of {_gib(memory)}",
        )  # fmt: skip
    elif weights + cache > memory:
        mean = engine.batch_size * mean_tokens * per_token
        fits = int((memory - weights) // (context * per_token))
        yield Finding(
            "problem" if weights + mean > memory else "warning", name,
            f"weights {_gib(weights)} + cache of batch_size {engine.batch_size} x {context:,} "
            f"tokens x {per_token:,} bytes = {_gib(weights + cache)} of {_gib(memory)} (at the "
            f"mean of {mean_tokens:,.0f} tokens: {_gib(weights + mean)}). "
            f"At the cap {fits} answers fit at a time",
        )  # fmt: skip


def _vllm(
    name: str, engine: VllmSettings, compute: Compute, weights: float, per_token: int,
    context: int, mean_tokens: float,
) -> Iterator[Finding]:  # fmt: skip
    if engine.gpus != compute.gpus:
        yield Finding(
            "problem" if engine.gpus > compute.gpus else "warning", name,
            f"{_parallel(engine)}, but {compute.gpus} GPUs are declared",
        )  # fmt: skip
    if engine.max_model_len is not None and engine.max_model_len < context:
        yield Finding(
            "warning", name,
            f"max_model_len {engine.max_model_len:,} is below prompt and cap together, "
            f"{context:,} tokens: longer answers are not asked for",
        )  # fmt: skip
    gpus = engine.gpus_per_copy
    memory = compute.gpu_memory_gib * GIB * engine.gpu_memory_utilization * gpus
    longest = min(context, engine.max_model_len or context)
    if weights + longest * per_token > memory:
        yield Finding(
            "problem", name,
            f"weights {_gib(weights)} + cache of one answer of {longest:,} tokens x {per_token:,} "
            f"bytes = {_gib(weights + longest * per_token)} of {_gib(memory)} on the {gpus} GPU(s) "
            "of a copy of the model",
        )  # fmt: skip
        return
    copy = " of each copy" if engine.data_parallel_size > 1 else ""
    at_once = int((memory - weights) // (mean_tokens * per_token))
    if at_once < engine.max_num_seqs:
        yield Finding(
            "warning", name,
            f"the cache{copy} holds {at_once} answers of {mean_tokens:,.0f} tokens, max_num_seqs "
            f"{engine.max_num_seqs} asks for more: vLLM will put some off",
        )  # fmt: skip


def _parallel(engine: VllmSettings) -> str:
    """The settings that a copy's and all copies' GPUs come from."""
    sizes = {
        "data_parallel_size": engine.data_parallel_size,
        "pipeline_parallel_size": engine.pipeline_parallel_size,
        "tensor_parallel_size": engine.tensor_parallel_size,
    }
    said = [f"{name} {size}" for name, size in sizes.items() if size > 1]
    return " x ".join(said) or f"tensor_parallel_size {engine.tensor_parallel_size}"


def training_findings(
    name: str, training: Training, shape: ModelShape | None, compute: Compute
) -> Iterator[Finding]:
    """What speaks against training as declared."""
    if not compute.gpus:
        return
    if training.processes != compute.gpus:
        yield Finding(
            "problem" if training.processes > compute.gpus else "warning", name,
            f"processes {training.processes}, but {compute.gpus} GPUs are declared; each process "
            "takes one",
        )  # fmt: skip
    if shape is None or not compute.gpu_memory_gib:
        yield Finding("hint", name, "memory is not checked: the size of the student is not known")
        return
    if problem := training_problem(training, shape, compute.gpu_memory_gib):
        yield Finding("problem", name, problem)


def _gib(n_bytes: float) -> str:
    return f"{n_bytes / GIB:,.1f} GiB"
