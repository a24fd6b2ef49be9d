"""Scoring: our kernel against transformers' full-logits forward on the same tokens and weights.

    python -m benchmarks.scoring [--hidden 256] [--layers 4] [--vocabulary 151936] [--lengths 4096]
    python -m benchmarks.scoring --shape qwen3-4b --device cuda --dtype bfloat16 \
        --lengths 8192 32768 65536 --ours-only

The model is of the Qwen3 architecture with random weights. Ours gives each token's logprob and its
rank; "plain" is `model(ids).logits`, float32 log_softmax over all of it, gather, and the count of
the logits above the token's: the same results; "plain, no rank" leaves the count out. Each way runs
in a process of its own; its peak memory is the process's resident high-water mark (CPU) or the
largest sum of allocated tensors (CUDA), less what the loaded model took.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from typing import Any

import torch

from benchmarks.shapes import (
    add_shape_arguments,
    forward_operations,
    matmul_rate,
    peak_bytes,
    random_model,
)
from resources.engines.protocol import ScoringRequest
from resources.engines.scoring import score_batch

N_PROMPT = 64
OURS, PLAIN, NO_RANK = WAYS = ("ours", "plain", "plain, no rank")


def main() -> None:
    """Print tokens/s and peak memory of both, and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_shape_arguments(parser)
    parser.add_argument("--lengths", type=int, nargs="+", default=[4096])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ours-only", action="store_true")
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    for length in arguments.lengths:
        result = {}
        for way in WAYS[:1] if arguments.ours_only else WAYS:
            with spawn.Pool(1) as pool:
                result[way] = pool.apply(_measure, (way, length, arguments))
            seconds, peak, share = result[way]
            print(
                f"{way:14} {length:>6} tokens: {length / seconds:>9,.0f} tokens/s,"
                f" peak {peak / 2**20:>7,.0f} MiB, {share:.0%} of the measured matmul rate"
            )
        for way in result.keys() - {OURS}:
            speed = result[way][0] / result[OURS][0]
            memory = result[OURS][1] / result[way][1]
            print(f"{length:>6} tokens, against {way}: {speed:.2f} x its tokens/s "
                  f"at {memory:.3f} x its peak")  # fmt: skip


def _measure(way: str, length: int, arguments: argparse.Namespace) -> tuple[float, float, float]:
    """Seconds of the best round, bytes above the loaded model, share of the matmul rate."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = random_model(arguments, length).eval()
    vocabulary = model.config.vocab_size
    ids = torch.randint(0, vocabulary, (length,)).tolist()
    request = ScoringRequest("a", tuple(ids[:N_PROMPT]), tuple(ids[N_PROMPT:]))
    _run(way, model, ScoringRequest("warm-up", tuple(ids[:8]), tuple(ids[8:16])))
    before = peak_bytes(arguments.device)
    seconds = []
    for _ in range(arguments.rounds):
        start = time.perf_counter()
        _run(way, model, request)
        seconds.append(time.perf_counter() - start)
    peak = peak_bytes(arguments.device) - before
    rate = matmul_rate(arguments.device, next(model.parameters()).dtype)
    return min(seconds), peak, forward_operations(model, [length]) / min(seconds) / rate


@torch.inference_mode()
def _run(way: str, model: Any, request: ScoringRequest) -> None:
    if way == OURS:
        score_batch(model, [request], 0)  # its results are on the CPU: nothing is left running
        return
    ids = torch.tensor([[*request.prompt_token_ids, *request.token_ids]], device=model.device)
    logits = model(ids, use_cache=False).logits[0, len(request.prompt_token_ids) - 1 : -1].float()
    given = ids[0, len(request.prompt_token_ids) :, None]
    logits.log_softmax(-1).gather(1, given).cpu()
    if way == PLAIN:
        (logits > logits.gather(1, given)).sum(-1).cpu()


if __name__ == "__main__":
    main()
