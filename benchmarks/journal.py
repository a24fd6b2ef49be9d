"""The journal: append rate against plain unbuffered writes, and what it adds to a token.

    python -m benchmarks.journal [--records 5000] [--tokens 4000]

Both write the same bytes to a file of their own in the same folder, the plain way with one `write`
a record and one fsync at the end. The share of the sampling time is at a given rate of tokens/s.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np

from resources.engines.journal import Journal
from resources.engines.journal_records import encode
from resources.engines.protocol import Completion


def main() -> None:
    """Print both rates, their ratio, the overhead of a token, time to open, memory of the index."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=5_000)
    parser.add_argument("--tokens", type=int, default=4_000, help="of a record")
    parser.add_argument("--tokens-per-second", type=float, default=20_000, help="when sampling")
    parser.add_argument("--index-records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="on the disk to measure; default: the temporary folder")
    arguments = parser.parse_args()
    completions = records(arguments.records, arguments.tokens)
    n_tokens = arguments.records * arguments.tokens
    ours, plain, opening, reading = [], [], [], []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for number in range(arguments.rounds):  # interleaved: the machine's noise meets both
            path = Path(folder, f"{number}.journal")
            ours.append(append_all(path, completions))
            plain.append(write_all(Path(folder, f"{number}.plain"), completions))
            start = time.perf_counter()
            with Journal(path) as journal:
                opening.append(time.perf_counter() - start)
                finished = journal.finished
            start = time.perf_counter()
            for _ in finished.read(completion.key for completion in completions):
                pass
            reading.append(time.perf_counter() - start)
            n_bytes = path.stat().st_size
            path.unlink()
        index = index_mib(Path(folder, "index.journal"), arguments.index_records)
    print(f"{arguments.records:,} records of {arguments.tokens:,} tokens, {n_bytes / 1e6:,.0f} MB; "
          f"best of {arguments.rounds} rounds")  # fmt: skip
    for name, seconds in (("journal", min(ours)), ("plain write", min(plain))):
        print(f"{name:12} {arguments.records / seconds:>10,.0f} records/s"
              f" {n_bytes / seconds / 1e6:>8,.0f} MB/s")  # fmt: skip
    print(f"ratio of the rates: {min(plain) / min(ours):.2f}")
    added = min(ours) / n_tokens
    print(f"per token: {added * 1e9:.0f} ns, {added * arguments.tokens_per_second:.3%} of the time "
          f"of sampling at {arguments.tokens_per_second:,.0f} tokens/s")  # fmt: skip
    print(f"open and verify: {n_bytes / min(opening) / 1e6:,.0f} MB/s; "
          f"read back one by one: {n_bytes / min(reading) / 1e6:,.0f} MB/s")  # fmt: skip
    print(f"index: {index:,.0f} MiB for {arguments.index_records:,} finished requests")


def records(n: int, n_tokens: int) -> list[Completion]:
    """Completions that share their arrays: only the keys differ."""
    rng = np.random.default_rng(0)
    token_ids = rng.integers(0, 200_000, n_tokens, dtype=np.int32)
    logprobs = -rng.exponential(0.3, n_tokens).astype(np.float32)
    return [Completion(f"{i:064x}", token_ids, logprobs, "stop") for i in range(n)]


def append_all(path: Path, completions: list[Completion]) -> float:
    """Seconds to journal all of them."""
    start = time.perf_counter()
    with Journal(path) as journal:
        for completion in completions:
            journal.append(completion)
    return time.perf_counter() - start


def write_all(path: Path, completions: list[Completion]) -> float:
    """Seconds to write the same bytes, made beforehand."""
    contents = [encode(completion) for completion in completions]
    start = time.perf_counter()
    with path.open("ab", buffering=0) as file:
        for content in contents:
            file.write(content)
        os.fsync(file.fileno())
    seconds = time.perf_counter() - start
    path.unlink()
    return seconds


def index_mib(path: Path, n: int) -> float:
    """Memory that an open journal of n empty answers takes; it does not depend on their length."""
    empty = np.empty(0, np.int32), np.empty(0, np.float32)
    with Journal(path) as journal:
        for i in range(n):
            journal.append(Completion(f"{i:064x}", *empty, "stop"))
    tracemalloc.start()
    with Journal(path):
        held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / 1024**2


if __name__ == "__main__":
    main()
