"""Models of the student's architecture with random weights, and what a machine can do at most."""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

import torch

QWEN3_4B = {
    "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "head_dim": 128,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 151_936,
}  # fmt: skip


def add_shape_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that say which model is measured, and on what."""
    parser.add_argument("--shape", choices=["small", "qwen3-4b"], default="small")
    parser.add_argument("--hidden", type=int, default=256, help="of the small shape")
    parser.add_argument("--layers", type=int, default=4, help="of the small shape")
    parser.add_argument("--vocabulary", type=int, default=151_936, help="of the small shape")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=1)


def random_model(arguments: argparse.Namespace, length: int, attention: str = "sdpa") -> Any:
    """A Qwen3 model for sequences of `length` tokens, on the device and in the dtype asked for."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    small = {
        "hidden_size": arguments.hidden, "intermediate_size": 3 * arguments.hidden,
        "num_hidden_layers": arguments.layers, "head_dim": 64, "num_attention_heads": 8,
        "num_key_value_heads": 4, "vocab_size": arguments.vocabulary,
    }  # fmt: skip
    shape = QWEN3_4B if arguments.shape == "qwen3-4b" else small
    config: Any = Qwen3Config(**shape, max_position_embeddings=length, tie_word_embeddings=True)
    config._attn_implementation = attention
    torch.set_default_dtype(getattr(torch, arguments.dtype))
    with torch.device(arguments.device):
        model = Qwen3ForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    return model


def forward_operations(model: Any, lengths: list[int]) -> float:
    """Two per weight and token, and attention's products under the causal mask of each sample."""
    config = model.config
    weights = sum(parameter.numel() for parameter in model.parameters())
    attention = 2 * config.num_attention_heads * config.head_dim * sum(n**2 for n in lengths)
    return 2.0 * weights * sum(lengths) + float(attention * config.num_hidden_layers)


def peak_bytes(device: str) -> float:
    """Most memory so far: of tensors on a GPU, or of the process."""
    if device == "cuda":
        return float(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def wait(device: str) -> None:
    """Until all that was given to a GPU is done."""
    if device == "cuda":
        torch.cuda.synchronize()


def matmul_rate(device: str, dtype: torch.dtype) -> float:
    """Operations per second of a large square product, best of five."""
    n, best = 8192 if device == "cuda" else 1024, 0.0
    a = torch.randn(n, n, device=device).to(dtype)
    for _ in range(5):
        wait(device)
        start = time.perf_counter()
        torch.mm(a, a)
        wait(device)
        best = max(best, 2.0 * n**3 / (time.perf_counter() - start))
    return best
