"""The parts of `make gpu-check`; each runs in a process of its own and returns plain figures.

Models have random weights of the student's shape: what is measured is the machine and the code, not
an answer. Scoring, packing, collating, the chunked loss and the isolation measurement are those of
the pipeline.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import io
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Final

import numpy as np
import torch

from benchmarks.shapes import forward_operations, matmul_rate, peak_bytes, random_model, wait

GIB: Final = 1024**3
N_PROMPT, N_PACKED = 64, 6
LENGTH_OF_SMALL_PARTS = 1024
SCORING_GOAL, TRAINING_GOAL = 0.5, 0.45
"""Shares of the measured matmul rate that are aimed at."""
Figures = dict[str, Any]


def machine(options: argparse.Namespace) -> Figures:
    """Names, versions, and the rates that all else is a share of."""
    import transformers

    on_gpu = options.device == "cuda"
    name = torch.cuda.get_device_name() if on_gpu else platform.processor() or platform.machine()
    total = torch.cuda.get_device_properties(0).total_memory / GIB if on_gpu else None
    return {
        "name": name, "memory_gib": total, "python": platform.python_version(),
        "torch": torch.__version__, "cuda": torch.version.cuda,
        "transformers": transformers.__version__, "attention": attention(options),
        "copied_bytes_per_second": _copy_rate(options.device),
        "matmul_flops_per_second": matmul_rate(options.device, getattr(torch, options.dtype)),
    }  # fmt: skip


def attention(options: argparse.Namespace) -> str:
    """The first kernel that is here and keeps packed samples apart without a square mask."""
    if options.device == "cuda" and importlib.util.find_spec("flash_attn"):
        return "flash_attention_2"
    return "flex_attention" if options.device == "cuda" else "sdpa"


def scoring(options: argparse.Namespace, length: int) -> Figures:
    """Logprobs and ranks of one sequence's tokens, as `student_scores` takes them."""
    from resources.engines.protocol import ScoringRequest
    from resources.engines.scoring import score_batch

    torch.manual_seed(0)
    model = random_model(options, length).eval()
    ids = torch.randint(0, model.config.vocab_size, (length,)).tolist()
    request = ScoringRequest("a", tuple(ids[:N_PROMPT]), tuple(ids[N_PROMPT:]))
    seconds = _best(options, lambda: score_batch(model, [request], 0))
    share = _share(options, forward_operations(model, [length]), seconds)
    return {
        "tokens_per_second": length / seconds, "share_of_matmul": share, "goal": SCORING_GOAL,
        "peak_gib": peak_bytes(options.device) / GIB,
    }  # fmt: skip


def training(options: argparse.Namespace, length: int, *, packed: bool) -> Figures:
    """One step: forward in autocast, checkpointed backward, chunked loss, clipping, AdamW.

    The chunked loss is that of weighted samples, here with all weights 1: the logits of a whole
    sequence are never there, and it needs neither Liger nor a GPU.
    """
    model, batch, lengths = _trainable(options, length, N_PACKED if packed else 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=options.device == "cuda")
    seconds = _best(options, lambda: _step(options, model, optimizer, batch))
    n_tokens = sum(lengths)
    of_weights = 2.0 * sum(parameter.numel() for parameter in model.parameters()) * n_tokens
    return {
        "tokens_per_second": n_tokens / seconds,
        "mfu": _share(options, 3 * forward_operations(model, lengths), seconds),
        "mfu_without_attention": _share(options, 3 * of_weights, seconds),
        "goal": TRAINING_GOAL, "samples": len(lengths), "attention": attention(options),
        "peak_gib": peak_bytes(options.device) / GIB,
    }  # fmt: skip


def isolation(options: argparse.Namespace) -> Figures:
    """Whether packed samples see each other under the kernel that training would use."""
    from dataclasses import asdict

    from training.dataset import collate
    from training.isolation import measure_isolation

    torch.manual_seed(0)
    model = random_model(options, LENGTH_OF_SMALL_PARTS, attention(options))
    rows = [_samples(model.config.vocab_size, [97, 61, 33])]
    found = measure_isolation(model, rows, partial(collate, pad_id=0), nullcontext)
    return {"holds": found.holds, **asdict(found)}


def sampling(options: argparse.Namespace) -> Figures:
    """Answers of the embedded engine's decode loop; vLLM says more where it is installed."""
    from resources.engines.decode import sample_batch
    from resources.engines.protocol import GenerationRequest, Prompt

    torch.manual_seed(0)
    model = random_model(options, LENGTH_OF_SMALL_PARTS).eval()
    requests = [
        GenerationRequest(Prompt(tuple(range(10, 10 + N_PROMPT))), 1.0, 1.0, options.new_tokens, n)
        for n in range(options.answers)
    ]
    keys = [str(n) for n in range(options.answers)]

    def sample() -> None:
        done = sample_batch(model, requests, keys, frozenset(), 0)
        assert sum(len(answer.token_ids) for answer in done) == n_tokens

    n_tokens = options.answers * options.new_tokens
    seconds = _best(options, sample)
    return {
        "tokens_per_second": n_tokens / seconds, "answers_at_once": options.answers,
        "vllm": _version("vllm"), "peak_gib": peak_bytes(options.device) / GIB,
    }  # fmt: skip


def restart(options: argparse.Namespace) -> Figures:
    """Two steps in one go against one, saved, loaded and another: how far the weights are apart.

    Not 0 where a kernel adds in an order that differs from call to call (atomic sums of attention's
    backward pass).
    """
    small = argparse.Namespace(**{**vars(options), "shape": "small"})

    def start() -> tuple[Any, Any, Any]:
        model, batch, _ = _trainable(small, LENGTH_OF_SMALL_PARTS, 2)
        return model, torch.optim.AdamW(model.parameters(), lr=1e-3), batch

    model, optimizer, batch = start()
    for _ in range(2):
        _step(small, model, optimizer, batch)
    other, other_optimizer, batch = start()
    _step(small, other, other_optimizer, batch)
    saved = io.BytesIO()
    torch.save([other.state_dict(), other_optimizer.state_dict()], saved)
    saved.seek(0)
    again, again_optimizer, batch = start()
    for one, state in zip((again, again_optimizer), torch.load(saved), strict=True):
        one.load_state_dict(state)
    _step(small, again, again_optimizer, batch)
    pairs = zip(model.parameters(), again.parameters(), strict=True)
    apart = max(float((one - two).detach().abs().max()) for one, two in pairs)
    return {"bitwise": apart == 0.0, "largest_difference": apart}


def _trainable(
    options: argparse.Namespace, length: int, n_samples: int
) -> tuple[Any, dict[str, torch.Tensor], list[int]]:
    """A float32 model with checkpointing and the chunked loss, and one packed sequence for it."""
    from training.dataset import PackedDataset, collate
    from training.weighted_loss import weigh_losses

    torch.manual_seed(0)
    model = random_model(options, length, attention(options)).float().train()
    model.config.use_cache = False
    model.gradient_checkpointing_enable({"use_reentrant": False})
    weigh_losses(model, partial(_autocast, options))
    lengths = [length // n_samples] * n_samples
    samples = _samples(model.config.vocab_size, lengths)
    dataset = PackedDataset(samples, [np.arange(n_samples)], is_weighted=True)
    batch = collate([dataset[0]], pad_id=0)
    return model, {name: value.to(options.device) for name, value in batch.items()}, lengths


def _samples(vocabulary: int, lengths: Sequence[int]) -> list[Any]:
    from training.samples import NO_LOSS, Sample

    generator = np.random.default_rng(0)
    samples = []
    for n in lengths:
        ids = generator.integers(0, vocabulary, n).astype(np.int32)
        labels = ids.copy()
        labels[: n // 20] = NO_LOSS
        samples.append(Sample(ids, labels))
    return samples


def _step(
    options: argparse.Namespace, model: Any, optimizer: torch.optim.Optimizer, batch: Any
) -> None:
    with _autocast(options):
        loss = model(**batch, num_items_in_batch=float(batch["input_ids"].numel())).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def _autocast(options: argparse.Namespace) -> torch.autocast:
    dtype = getattr(torch, options.dtype)
    return torch.autocast(options.device, dtype, enabled=dtype != torch.float32)


def _best(options: argparse.Namespace, work: Callable[[], Any]) -> float:
    """Seconds of the fastest of some rounds, after one that does not count."""
    seconds = []
    for _ in range(1 + options.rounds):
        wait(options.device)
        began = time.perf_counter()
        work()
        wait(options.device)
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def _share(options: argparse.Namespace, operations: float, seconds: float) -> float:
    return operations / seconds / matmul_rate(options.device, getattr(torch, options.dtype))


def _copy_rate(device: str) -> float:
    """Bytes read and written per second by a large copy, best of five."""
    source = torch.ones(2**28 if device == "cuda" else 2**24, device=device)
    target, best = torch.empty_like(source), 0.0
    for _ in range(5):
        wait(device)
        began = time.perf_counter()
        target.copy_(source)
        wait(device)
        best = max(best, 2.0 * source.nbytes / (time.perf_counter() - began))
    return best


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
