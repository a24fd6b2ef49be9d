"""Packed training sets at several sizes: making one, mapping it, and the same rows in memory.

    python -m benchmarks.training_set [--tokens 100e6 500e6] [--workers 2]

For each size rows of the tiny student's tokens are written; then, each in a process of its own, the
set is made, a rank maps it and reads all of its sequences in random order, and the rows are
tokenised and held in memory, as each rank once did at each start.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dasd_assets.profile import PROJECT_ROOT
from resources.lake.parquet_layout import row_groups, writer_options
from training.dataset import PackedDataset, collate
from training.encode_parts import SetConfig, encoded_parts
from training.make_set import make_training_set
from training.packing import pack
from training.training_set import open_training_set

STUDENT = PROJECT_ROOT / "tiny_world" / "models" / "student"
MAX_LENGTH = 65_536
ANSWER_BYTES = 40_000
ROWS_PER_BATCH = 100
SCHEMA = pa.schema([("question", pa.string()), ("response_text", pa.string())])


def main() -> None:
    """Print seconds, tokens/s and peak memory of each way, for every size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=float, nargs="+", default=[100e6, 500e6])
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--ours-only", action="store_true", help="without the rows in memory")
    parser.add_argument("--child", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        way, folder = arguments.child
        print(json.dumps(WAYS[way](config_of(Path(folder), arguments.workers))))
        return
    for n_tokens in arguments.tokens:
        with tempfile.TemporaryDirectory() as folder:
            write_rows(Path(folder), n_tokens)
            print(f"{n_tokens:,.0f} tokens asked for, {arguments.workers} workers")
            for way in [way for way in WAYS if not (arguments.ours_only and way == "in memory")]:
                command = [sys.executable, "-m", "benchmarks.training_set", "--child", way, folder]
                command += ["--workers", str(arguments.workers)]
                result = subprocess.run(command, check=True, capture_output=True, text=True)
                print(f"  {way}: {result.stdout.splitlines()[-1]}", flush=True)


def config_of(folder: Path, workers: int) -> SetConfig:
    """The set of the rows in a folder."""
    return SetConfig(
        model_path=str(folder / "model"), samples=[str(folder / "rows.parquet")],
        system_prompt="Be brief.", output_dir=str(folder / "set"), max_length=MAX_LENGTH,
        workers=workers,
    )  # fmt: skip


def write_rows(folder: Path, n_tokens: float) -> None:
    """Rows of sums, about 1.2 bytes a token, in row groups as the lake has, and their model."""
    shutil.copytree(STUDENT, folder / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    file = folder / "model" / "config.json"
    longer = json.loads(file.read_text(encoding="utf-8")) | {"max_position_embeddings": MAX_LENGTH}
    file.write_text(json.dumps(longer), encoding="utf-8")
    rng = np.random.default_rng(0)
    n_rows = round(n_tokens * 1.2 / ANSWER_BYTES)

    def batches() -> Iterator[pa.RecordBatch]:
        for first in range(0, n_rows, ROWS_PER_BATCH):
            numbers = range(first, min(first + ROWS_PER_BATCH, n_rows))
            rows = [
                {"question": f"What is {n} + 1?", "response_text": _answer(rng)} for n in numbers
            ]
            yield pa.RecordBatch.from_pylist(rows, SCHEMA)

    with pq.ParquetWriter(folder / "rows.parquet", SCHEMA, **writer_options(SCHEMA)) as writer:
        for group in row_groups(batches()):
            writer.write_table(group, row_group_size=group.num_rows)


def _answer(rng: np.random.Generator) -> str:
    """A reasoning between half of and one and a half times ANSWER_BYTES, and an answer."""
    n_lines = round(float(rng.uniform(0.5, 1.5)) * ANSWER_BYTES / 24)
    numbers = rng.integers(1, 999, (n_lines, 2)).tolist()
    lines = "\n".join(f"Ones: {a} + {b} = {a + b}." for a, b in numbers)
    return f"<think>\n{lines}\n</think>\n\nIt is {numbers[-1][0]}."


def make(config: SetConfig) -> dict[str, Any]:
    """Make the set."""
    began = time.perf_counter()
    encoded: list[float] = []

    def note(line: str) -> None:
        if line.endswith("certifying them"):
            encoded.append(time.perf_counter() - began)

    made = make_training_set(config, note)
    seconds = time.perf_counter() - began
    return {
        "tokens": made.n_tokens,
        "seconds": round(seconds, 1),
        "of them certifying": round(seconds - encoded[0], 1),
        "tokens/s": round(made.n_tokens / seconds),
        "tokens/s of a core": round(made.n_tokens / _core_seconds()),
        "peak MiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "peak MiB of a worker": round(
            resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        ),
    }


def map_and_read(config: SetConfig) -> dict[str, Any]:
    """Map the set, make its first batch, then all of them in random order."""
    import torch  # what a rank has in any case

    before = _resident()
    began = time.perf_counter()
    made = open_training_set(Path(config.output_dir))
    dataset = PackedDataset(made.samples, made.sequences)
    collate([dataset[0]], pad_id=0)
    first = time.perf_counter() - began
    peak, n_tokens = 0.0, 0
    for row in torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0)).tolist():
        n_tokens += collate([dataset[row]], pad_id=0)["input_ids"].numel()
        peak = max(peak, _resident())
    return {
        "seconds to the first batch": round(first, 3),
        "seconds for all": round(time.perf_counter() - began, 1),
        "tokens": n_tokens,
        "MiB more at most, mapped pages with it": round(peak - before),
        "peak MiB of the process": round(peak),
    }


def in_memory(config: SetConfig) -> dict[str, Any]:
    """Tokenise all rows and hold them."""
    began = time.perf_counter()
    parts = list(encoded_parts(config.model_copy(update={"workers": 1}), Path(config.output_dir)))
    token_ids = np.concatenate([part.token_ids for part in parts])
    pack(np.concatenate([part.n_tokens for part in parts]), MAX_LENGTH)
    return {
        "seconds to the first batch": round(time.perf_counter() - began, 1),
        "tokens": len(token_ids),
        "peak MiB of the process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _core_seconds() -> float:
    """What this process and its children have had of the cores, others' work beside it or not."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _resident() -> float:
    """MiB that this process has in memory now, mapped pages with it."""
    n_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return n_pages * resource.getpagesize() / 1024**2


WAYS = {"making": make, "mapping": map_and_read, "in memory": in_memory}

if __name__ == "__main__":
    main()
