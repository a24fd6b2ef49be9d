"""The batch certificate at scale: packing, the checks over all samples, the comparison of batches.

    python -m benchmarks.certificate [--samples 330000] [--mean-log 5.5] [--max-length 4096]

Samples are synthetic, their lengths log-normal. The checks over all samples run against the plain
loop over samples that they replaced (on a part of the samples, per sample); comparing a batch
against making it, which the data loader does anyway.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from dasd_assets.profile import PROJECT_ROOT
from formats.student_tokens import encode_prompt
from training.batch_checks import (
    batch_fault,
    end_token_trained,
    every_sample_once,
    loss_mask,
    nothing_cut,
)
from training.dataset import PackedDataset, collate
from training.packing import pack
from training.samples import NO_LOSS, Samples


def main() -> None:
    """Print seconds, rates and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=330_000)
    parser.add_argument("--mean-log", type=float, default=5.5, help="of the log-normal lengths")
    parser.add_argument("--sigma", type=float, default=0.8, help="of the log-normal lengths")
    parser.add_argument("--max-length", type=int, default=4_096)
    parser.add_argument("--looped", type=int, default=5_000, help="samples of the plain loop")
    parser.add_argument("--batches", type=int, default=200, help="compared in a round")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    folder = PROJECT_ROOT / "tiny_world" / "models" / "student"
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    samples = made_up(arguments, tokenizer)
    start = time.perf_counter()
    sequences = pack(samples.lengths, arguments.max_length, 8)
    packing = time.perf_counter() - start
    n_tokens = len(samples.token_ids)
    efficiency = n_tokens / (len(sequences) * arguments.max_length)
    print(f"{len(samples):,} samples, {n_tokens:,} tokens, mean {n_tokens / len(samples):,.0f}")
    print(f"packing: {len(sequences):,} sequences of {arguments.max_length:,} in {packing:.1f} s, "
          f"efficiency {efficiency:.2%}")  # fmt: skip
    print(packing_at_scale(arguments.samples))
    dataset = PackedDataset(samples, sequences)
    rows = np.linspace(0, len(sequences) - 1, arguments.batches).astype(int).tolist()
    whole, looped, making, comparing = [], [], [], []
    for _ in range(arguments.rounds):  # interleaved: the machine's noise meets all of them
        whole.append(seconds(check_all, samples, sequences, tokenizer) / len(samples))
        n_looped = min(arguments.looped, len(samples))
        looped.append(seconds(loop, samples, n_looped, tokenizer) / n_looped)
        start = time.perf_counter()
        batches = [collate([dataset[row]], 0) for row in rows]
        making.append(time.perf_counter() - start)
        start = time.perf_counter()
        faults = [
            batch_fault(batch, [row], samples, sequences)
            for row, batch in zip(rows, batches, strict=True)
        ]
        comparing.append(time.perf_counter() - start)
        assert not any(faults)
        n_compared = sum(batch["input_ids"].numel() for batch in batches)
    print(f"checks over all samples: {min(whole) * len(samples):.2f} s, "
          f"{min(looped) / min(whole):.1f} times the plain loop's samples/s")  # fmt: skip
    print(f"comparing batches: {n_compared / min(comparing) / 1e6:,.0f} million tokens/s, "
          f"{min(comparing) / min(making):.2f} of the time of making them")  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:,.0f} MiB; the tokens are {samples.token_ids.nbytes / 2**20:,.0f}")


def packing_at_scale(n: int) -> str:
    """Packing of as many lengths as reasoning has, without tokens: 11K in the mean, 64K at most."""
    lengths = np.random.default_rng(0).lognormal(9.0, 0.8, n).astype(np.int64).clip(300, 65_536)
    start = time.perf_counter()
    n_sequences = len(pack(lengths, 65_536, 64))
    took = time.perf_counter() - start
    efficiency = lengths.sum() / (n_sequences * 65_536)
    return (
        f"packing lengths of {lengths.mean():,.0f} in the mean: {n_sequences:,} sequences of "
        f"65,536 in {took:.1f} s, efficiency {efficiency:.2%}"
    )


def made_up(arguments: argparse.Namespace, tokenizer: Any) -> Samples:
    """Samples whose prompts are one real prompt, the rest random tokens and the end token."""
    rng = np.random.default_rng(0)
    prompt = np.asarray(encode_prompt(tokenizer, "What is 1 + 1?", "Be brief."), np.int32)
    lengths = rng.lognormal(arguments.mean_log, arguments.sigma, arguments.samples)
    lengths = np.clip(lengths, len(prompt) + 2, arguments.max_length).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    ids = rng.integers(300, len(tokenizer), starts[-1], dtype=np.int32)
    ids[starts[:-1, None] + np.arange(len(prompt))] = prompt
    ids[starts[1:] - 1] = tokenizer.eos_token_id
    n_prompt = np.full(len(lengths), len(prompt), np.int32)
    return Samples(
        token_ids=ids,
        starts=starts,
        n_prompt=n_prompt,
        n_masked=n_prompt,
        n_response=(lengths - len(prompt)).astype(np.int32),
        files=(Path("made-up.parquet"),),
        file_starts=np.zeros(1, np.int64),
    )


def check_all(samples: Samples, sequences: Any, tokenizer: Any) -> None:
    """Everything that is checked over all samples."""
    checks = [
        every_sample_once(samples, sequences),
        nothing_cut(samples),
        end_token_trained(samples, tokenizer.eos_token_id),
        loss_mask(samples, tokenizer, mask_student_prefix=False),
    ]
    assert all(check.passed for check in checks), checks


def loop(samples: Samples, n: int, tokenizer: Any) -> None:
    """End token and mask, sample by sample."""
    for index in range(n):
        sample = samples[index]
        ends = sample.input_ids[samples.n_prompt[index] :] == tokenizer.eos_token_id
        assert ends[-1]
        assert ends.sum() == 1
        assert (sample.labels != NO_LOSS).sum() == samples.n_response[index]


def seconds(function: Any, *arguments: Any) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
