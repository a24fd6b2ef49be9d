"""Curation of the same questions in many shards and in one: CPU time, its course, peak memory.

    python -m benchmarks.curation_shards [--questions 200000] [--shards 200]

The questions are those of `benchmarks.curation`. The shards are curated one after the other, as
`dasd run` does; each way runs in a process of its own, and both have to keep the same questions.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.curation import BATCH, SETTINGS, alone, delivered, hold_out
from dasd_assets.questions.curation.curate import curated
from dasd_assets.questions.curation.stored_shards import shard_to_curate
from resources.compute.declared import Compute
from resources.lake.lake import Lake


class Measured(NamedTuple):
    """One way: CPU seconds of each shard, peak memory of the process, ids that stay."""

    seconds: list[float]
    peak_mib: float
    kept: set[str]


def main() -> None:
    """Print what both ways take, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=200_000)
    parser.add_argument("--shards", type=int, default=200)
    parser.add_argument("--memory-gib", type=float, default=2.0, help="declared; DuckDB gets half")
    parser.add_argument("--folder", help="for the lakes; default: the temporary folder")
    arguments = parser.parse_args()
    n = arguments.questions // arguments.shards
    compute = Compute(memory_gib=arguments.memory_gib, cpus=1)
    took = {}
    for n_shards in (1, arguments.shards):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            alone(fill, folder, arguments.shards * n, n_shards, min(n, BATCH))
            took[n_shards] = alone(curate, folder, n_shards, compute)
        seconds = np.array(took[n_shards].seconds)
        quarters = np.array_split(seconds, min(4, n_shards))
        first, last = quarters[0].mean(), quarters[-1].mean()
        print(f"{arguments.shards * n:,} questions in {n_shards} shards: {seconds.sum():,.0f} s, "
              f"peak {took[n_shards].peak_mib:,.0f} MiB; a shard of the first quarter {first:.2f},"
              f" of the last {last:.2f} s")  # fmt: skip
    one, many = took[1], took[arguments.shards]
    print(f"many shards : one = {sum(many.seconds) / sum(one.seconds):.2f}")
    if many.kept != one.kept:
        raise SystemExit(f"{len(many.kept ^ one.kept):,} questions stay in one way only")
    print(f"both keep the same {len(one.kept):,}")


def place(number: int) -> dict[str, str]:
    """The partition of a shard."""
    return {"question_shard": f"s{number:05}"}


def fill(root: str, n: int, n_shards: int, batch: int) -> None:
    """Write a lake with n raw questions in so many shards."""
    lake = Lake(root=root)
    rng = np.random.default_rng(0)
    vocabulary = np.array([f"w{number:x}ord" for number in range(20_000)])
    rows = delivered(rng, vocabulary, hold_out(lake, rng, vocabulary), n, batch)
    for number in range(n_shards):
        lake.write("raw_questions", itertools.islice(rows, n // n_shards // batch), place(number))


def curate(root: str, n_shards: int, compute: Compute) -> Measured:
    """As the asset does it, from the lake into the lake, shard after shard."""
    lake = Lake(root=root)
    held_out = lake.read_partitions("benchmark_questions")
    seconds = []
    for number in range(n_shards):
        start = time.process_time()
        arguments = shard_to_curate(lake, place(number), SETTINGS)
        with curated(*arguments, held_out, SETTINGS, compute, Path(root, "scratch")) as result:
            lake.write("rejected_questions", result.rejected(), place(number))
            lake.write("question_signatures", result.signatures(), place(number))
            lake.write("questions", result.questions(), place(number))
        seconds.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    ids = lake.read_partitions("questions", ["question_id"])["question_id"].to_pylist()
    return Measured(seconds, peak, set(ids))


if __name__ == "__main__":
    main()
