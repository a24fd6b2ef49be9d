"""Curation: questions/s and peak memory, and plain Python with the same rules on a part of them.

    python -m benchmarks.curation [--questions 20000] [--part 10000]

Synthetic questions of 20 to 120 words with numbers in them, in two shards of which the second is
curated and timed: 2 % of it are questions again word by word, 2 % with one more sentence, 0.5 %
hold 20 words of an evaluation set. The plain way is one loop over the questions with sets and
datasketch's MinHashLSH. Every measurement runs in a process of its own, the two ways in turn.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from dasd_assets.profile import Questions
from dasd_assets.questions.curation.curate import curated
from dasd_assets.questions.curation.near_duplicates import comparables, jaccard
from dasd_assets.questions.curation.normalisation import normalise, normalised_question_id, words
from dasd_assets.questions.curation.stored_shards import shard_to_curate
from resources.compute.declared import Compute
from resources.lake.lake import Lake
from resources.lake.tables.questions import BENCHMARK_QUESTIONS, QUESTIONS, RAW_QUESTIONS

SETTINGS = Questions(inbox="inbox")
HELD_OUT = 2_000
BATCH = 1_000
SHARD = {"question_shard": "second"}

Result = TypeVar("Result")


class Measured(NamedTuple):
    """One run: seconds, peak memory of its process, what became of the questions."""

    seconds: float
    peak_mib: float
    counts: dict[str, int]


def main() -> None:
    """Print both rates and their ratio on a part, then rate and peak memory on all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=20_000, help="of the second shard")
    parser.add_argument("--part", type=int, default=10_000, help="that both ways curate")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-gib", type=float, default=2.0, help="declared; DuckDB gets half")
    parser.add_argument("--cpus", type=float, default=1.0)
    parser.add_argument("--folder", help="for the lake; default: the temporary folder")
    arguments = parser.parse_args()
    compute = Compute(memory_gib=arguments.memory_gib, cpus=arguments.cpus)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        part, whole = Path(folder, "part"), Path(folder, "whole")
        alone(fill, part, arguments.part)
        ours, plain = [], []
        for _ in range(arguments.rounds):
            ours.append(alone(curate, part, compute))
            plain.append(alone(curate_plainly, part))
        print(f"{arguments.part:,} questions, best of {arguments.rounds} rounds")
        for name, runs in (("ours", ours), ("plain Python", plain)):
            best = min(run.seconds for run in runs)
            print(f"{name:12} {arguments.part / best:>9,.0f} questions/s, "
                  f"{runs[0].peak_mib:>6,.0f} MiB, {runs[0].counts}")  # fmt: skip
        ratio = min(run.seconds for run in plain) / min(run.seconds for run in ours)
        print(f"ratio of the rates: {ratio:.2f}")
        alone(fill, whole, arguments.questions)
        run = alone(curate, whole, compute)
    print(f"{arguments.questions:,} questions: {run.seconds:,.0f} s, "
          f"{arguments.questions / run.seconds:,.0f} questions/s, peak {run.peak_mib:,.0f} MiB, "
          f"{run.counts}")  # fmt: skip


def alone(function: Callable[..., Result], *arguments: object) -> Result:
    """Run a function in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def fill(root: Path, n: int) -> Measured:
    """Write a lake: a first shard of n / 10 curated questions, and a second one to curate."""
    lake = Lake(root=str(root))
    rng = np.random.default_rng(0)
    vocabulary = np.array([f"w{number:x}ord" for number in range(20_000)])
    held_out = hold_out(lake, rng, vocabulary)
    start = time.perf_counter()

    def first() -> Iterator[pa.RecordBatch]:
        for at in range(0, n // 10, BATCH):
            rows = [
                {"question_id": normalised_question_id("math", text), "domain": "math",
                 "question": text, "answer": "1", "drop": "first.jsonl", "line": at + line}
                for line, text in enumerate(texts(rng, vocabulary, min(BATCH, n // 10 - at)))
            ]  # fmt: skip
            yield from pa.Table.from_pylist(rows, QUESTIONS).to_batches()

    lake.write("questions", first(), {"question_shard": "first"})
    lake.write("raw_questions", delivered(rng, vocabulary, held_out, n), SHARD)
    return measured(start, {})


def hold_out(lake: Lake, rng: np.random.Generator, vocabulary: np.ndarray) -> list[str]:
    """Write an evaluation set; gives its questions."""
    held_out = texts(rng, vocabulary, HELD_OUT)
    rows = [
        {"question_id": f"b{i}", "benchmark": "aime", "domain": "math", "question": text,
         "prompt": text, "answer": "1"}
        for i, text in enumerate(held_out)
    ]  # fmt: skip
    lake.write("benchmark_questions", pa.Table.from_pylist(rows, BENCHMARK_QUESTIONS),
               {"benchmark": "aime"})  # fmt: skip
    return held_out


def delivered(
    rng: np.random.Generator,
    vocabulary: np.ndarray,
    held_out: list[str],
    n: int,
    batch: int = BATCH,
) -> Iterator[pa.RecordBatch]:
    """Raw questions, some of which repeat one of the 20,000 before them."""
    before: list[str] = []
    for at in range(0, n, batch):
        new = texts(rng, vocabulary, min(batch, n - at))
        for index in range(len(new)):
            draw = rng.random()
            if draw < 0.04:
                if not before:
                    continue
                again = before[int(rng.integers(len(before)))]
                new[index] = again if draw < 0.02 else f"{again} Reason step by step."
            elif draw < 0.045:
                held = held_out[int(rng.integers(HELD_OUT))].split()[:20]
                new[index] += " ".join(["", *held])
        before = [*before[-20_000:], *new]
        rows = [
            {"drop": "second.jsonl", "line": at + line, "question": text, "domain": "math",
             "answer": "1"}
            for line, text in enumerate(new, 1)
        ]  # fmt: skip
        yield from pa.Table.from_pylist(rows, RAW_QUESTIONS).to_batches()


def texts(rng: np.random.Generator, vocabulary: np.ndarray, n: int) -> list[str]:
    """Questions of Zipf-distributed words, every tenth a number."""
    lengths = rng.integers(20, 121, n)
    ranks = rng.zipf(1.3, int(lengths.sum())) % len(vocabulary)
    drawn = np.where(
        rng.random(len(ranks)) < 0.1, rng.integers(2, 1_000, len(ranks)).astype(str),
        vocabulary[ranks],
    )  # fmt: skip
    return [" ".join(part) + "?" for part in np.split(drawn, np.cumsum(lengths)[:-1])]


def curate(root: Path, compute: Compute) -> Measured:
    """As the asset does it, from the lake into the lake."""
    lake = Lake(root=str(root))
    start = time.perf_counter()
    this, index = shard_to_curate(lake, SHARD, SETTINGS)
    held_out = lake.read_partitions("benchmark_questions")
    with curated(this, index, held_out, SETTINGS, compute, root / "scratch") as result:
        lake.write("rejected_questions", result.rejected(), SHARD)
        lake.write("question_signatures", result.signatures(), SHARD)
        lake.write("questions", result.questions(), SHARD)
    return measured(start, result.n_rejected)


def curate_plainly(root: Path) -> Measured:
    """The same rules in one loop, all in Python's memory."""
    from datasketch import MinHash, MinHashLSH

    lake = Lake(root=str(root))
    start = time.perf_counter()
    n = SETTINGS.decontamination_ngram_words
    held_out: dict[str, str] = {}
    for row in lake.read_partitions("benchmark_questions").to_pylist():
        held_out |= dict.fromkeys(grams(words(normalise(row["question"])), n), row["benchmark"])
    lsh = MinHashLSH(threshold=SETTINGS.near_duplicate_jaccard, num_perm=128, weights=(0.1, 0.9))
    seen: set[str] = set()
    kept: dict[str, tuple[np.ndarray, int]] = {}
    counts: Counter[str] = Counter()
    delivered = [
        lake.read("questions", {"question_shard": "first"}),
        lake.read("raw_questions", SHARD),
    ]
    for number, rows in enumerate(delivered):
        for row in rows.select(["domain", "question"]).to_pylist():
            question = normalise(row["question"])
            identity = normalised_question_id(row["domain"], question)
            if identity in seen:
                counts["duplicate_in_drop"] += number
                continue
            seen.add(identity)
            if any(gram in held_out for gram in grams(words(question), n)):
                counts["contaminated"] += number
                continue
            (comparable,) = comparables([question], [row["domain"]], 5)
            minhash = MinHash(num_perm=128)
            for shingle in comparable.shingles.tolist():
                minhash.update(shingle.to_bytes(4, "little"))
            near = [
                other for other in lsh.query(minhash)
                if kept[other][1] == comparable.formal
                and jaccard(comparable.shingles, [kept[other][0]])[0] >= 0.8
            ]  # fmt: skip
            if near:
                counts["near_duplicate_in_drop"] += number
                continue
            lsh.insert(identity, minhash)
            kept[identity] = comparable.shingles, comparable.formal
    return measured(start, dict(sorted(counts.items())))


def grams(found: list[str], n: int) -> list[str]:
    """All n-grams of words."""
    return [" ".join(found[at : at + n]) for at in range(len(found) - n + 1)]


def measured(start: float, counts: dict[str, int]) -> Measured:
    """What this process took until now."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Measured(time.perf_counter() - start, peak, counts)


if __name__ == "__main__":
    main()
