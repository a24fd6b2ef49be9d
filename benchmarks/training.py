"""Training steps as the pipeline makes them, against the same without one thing at a time.

    python -m benchmarks.training [--lengths 1024] [--samples 64]
    python -m benchmarks.training --shape qwen3-4b --device cuda --dtype bfloat16 \
        --attention flash_attention_2 --lengths 32768 65536

The model is of the Qwen3 architecture with random weights. All ways train the same samples, whose
lengths are log-normal: in packed sequences of `--lengths` tokens (the training program's own
packing and collating), or plainly padded, as many to a batch as fit the same number of tokens. A
step is forward (in `--dtype`, by autocast over float32 weights), backward with checkpointed
activations, clipping and AdamW. Tokens are those of samples, padding is not counted; model FLOP
utilisation is the share of the measured matmul rate that three times the forward operations come
to, recomputing left out. Liger's kernels are tried where the device is a GPU. Each way runs in a
process of its own, once over all samples after a first step that does not count; on a CPU the
seconds are the process's own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.shapes import (
    add_shape_arguments,
    forward_operations,
    matmul_rate,
    peak_bytes,
    random_model,
    wait,
)
from training.dataset import PackedDataset, collate
from training.packing import pack
from training.samples import NO_LOSS, Sample

AS_TRAINED, PADDED, NO_LIGER, NO_FUSED_LOSS, KEPT = (
    "as trained", "padded", "no Liger", "no fused loss", "no checkpointing",
)  # fmt: skip
PROMPT_SHARE = 0.05

Batch = tuple[dict[str, torch.Tensor], list[int]]
"""Inputs of the model, and the lengths of the samples in them."""


def main() -> None:
    """Print tokens/s, FLOP utilisation and peak memory of each way, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_shape_arguments(parser)
    parser.add_argument("--lengths", type=int, nargs="+", default=[1024])
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--attention", default="sdpa")
    arguments = parser.parse_args()
    ways = [AS_TRAINED, PADDED, KEPT]
    if arguments.device == "cuda":
        ways += [NO_LIGER, NO_FUSED_LOSS]
    spawn = multiprocessing.get_context("spawn")
    for length in arguments.lengths:
        ours = 0.0
        for way in ways:
            with spawn.Pool(1) as pool:
                try:
                    rate, used, peak = pool.apply(_measure, (way, length, arguments))
                except torch.OutOfMemoryError:
                    print(f"{way:16} {length:>6} tokens: out of memory", flush=True)
                    continue
            ours = ours or rate
            print(
                f"{way:16} {length:>6} tokens: {rate:>9,.0f} tokens/s ({rate / ours:.2f} of as "
                f"trained), {used:.0%} of the matmul rate, peak {peak / 2**30:,.1f} GiB",
                flush=True,
            )


def _measure(way: str, length: int, arguments: argparse.Namespace) -> tuple[float, float, float]:
    """Tokens/s, FLOP utilisation and peak memory."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = random_model(arguments, length, arguments.attention).float().train()
    model.config.use_cache = False
    if way != KEPT:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if arguments.device == "cuda" and way != NO_LIGER:
        _use_liger(model, fused_loss=way != NO_FUSED_LOSS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    dtype = getattr(torch, arguments.dtype)
    batches = list(_batches(way, length, model.config.vocab_size, arguments.samples))
    clock = time.perf_counter if arguments.device == "cuda" else time.process_time
    seconds = n_tokens = operations = 0.0
    for number, (batch, lengths) in enumerate([batches[0], *batches]):
        start = clock()
        on_device = {name: tensor.to(arguments.device) for name, tensor in batch.items()}
        with torch.autocast(arguments.device, dtype, enabled=dtype != torch.float32):
            loss = model(**on_device).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        wait(arguments.device)
        if number:
            seconds += clock() - start
            n_tokens += sum(lengths)
            operations += 3 * forward_operations(model, lengths)
    peak = peak_bytes(arguments.device)
    rate = matmul_rate(arguments.device, dtype)
    return n_tokens / seconds, operations / seconds / rate, peak


def _batches(way: str, length: int, vocabulary: int, n_samples: int) -> Iterator[Batch]:
    """The same samples, packed or padded; every batch fits `length` tokens."""
    generator = np.random.default_rng(0)
    lengths = (
        np.exp(generator.normal(np.log(length / 6), 0.8, n_samples)).astype(int).clip(8, length)
    )
    samples = [_sample(int(n), vocabulary, generator) for n in lengths]
    if way == PADDED:
        groups = [np.array(group) for group in _padded_groups(lengths.tolist(), length)]
    else:
        groups = pack(lengths, length)
    for group in groups:
        inside = [len(samples[sample]) for sample in group]
        if way == PADDED:
            yield _padded([samples[sample] for sample in group]), inside
        else:
            yield collate([PackedDataset(samples, [group])[0]], pad_id=0), inside


def _sample(n: int, vocabulary: int, generator: np.random.Generator) -> Sample:
    ids = generator.integers(0, vocabulary, n).astype(np.int32)
    labels = ids.copy()
    labels[: max(1, int(PROMPT_SHARE * n))] = NO_LOSS
    return Sample(ids, labels)


def _padded_groups(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Samples in their order, as long as all, padded to the longest, fit `most` tokens."""
    group: list[int] = []
    for index in range(len(lengths)):
        widest = max(lengths[other] for other in [*group, index])
        if group and widest * (len(group) + 1) > most:
            yield group
            group = []
        group.append(index)
    yield group


def _padded(samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
    """One sample a row, with an attention mask: the plain way."""
    shape = len(samples), max(map(len, samples))
    batch = {name: np.zeros(shape, np.int64) for name in ("input_ids", "attention_mask")}
    batch["labels"] = np.full(shape, NO_LOSS, np.int64)
    for row, sample in enumerate(samples):
        batch["input_ids"][row, : len(sample)] = sample.input_ids
        batch["labels"][row, : len(sample)] = sample.labels
        batch["attention_mask"][row, : len(sample)] = 1
    return {name: torch.from_numpy(values) for name, values in batch.items()}


def _use_liger(model: Any, *, fused_loss: bool) -> None:
    from transformers.integrations.liger import apply_liger_kernel

    apply_liger_kernel(
        model, {"fused_linear_cross_entropy": fused_loss, "cross_entropy": not fused_loss}
    )


if __name__ == "__main__":
    main()
