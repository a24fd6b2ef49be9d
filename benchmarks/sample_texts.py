"""Joining a selection with its texts: peak memory and bytes/s against Arrow tables in memory.

    python -m benchmarks.sample_texts [--answers 10000 20000] [--text-bytes 40000]

For each size a lake is made in a temporary folder, half of its answers are selected, and the sample
is written, in a process of its own: once as the asset does it, once with everything in Arrow tables
that are joined and sorted in memory. Both must write the same rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.selection import synthetic
from dasd_assets.divergence_sampling.ready_shards import shards_to_draw_from
from dasd_assets.divergence_sampling.sample import TEXT_COLUMNS, sample_of
from dasd_assets.divergence_sampling.selection import select
from dasd_assets.profile import DivergenceSampling
from resources.lake.lake import Lake
from resources.lake.tables.divergence_sampling import DIVERGENCE_SAMPLE, RESPONSE_PROVENANCE
from resources.lake.tables.response_filtering import FILTERED_RESPONSES

LOW = {"temperature": "low"}
ROWS_PER_BATCH = 500
ANSWERS_PER_SHARD = 5_000


def main() -> None:
    """Print seconds, bytes/s and peak memory of both, for every size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, nargs="+", default=[10_000, 20_000])
    parser.add_argument("--text-bytes", type=int, default=40_000)
    parser.add_argument("--ours-only", action="store_true", help="without the tables in memory")
    parser.add_argument("--child", nargs=2, metavar=("WAY", "LAKE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(*arguments.child)))
        return
    for n in arguments.answers:
        with tempfile.TemporaryDirectory() as folder:
            make_lake(folder, n, arguments.text_bytes)
            n_bytes = n // 2 * arguments.text_bytes
            print(f"{n:,} answers, {n_bytes / 2**30:.2f} GiB of selected text")
            written = set()
            for way in ["asset"] if arguments.ours_only else ["asset", "in memory"]:
                command = [sys.executable, "-m", "benchmarks.sample_texts", "--child", way, folder]
                result = subprocess.run(command, check=True, capture_output=True, text=True)
                seconds, peak_mib, rows = json.loads(result.stdout.splitlines()[-1])
                written.add(rows)
                print(f"  {way:<10} {seconds:6.1f} s, {n_bytes / seconds / 2**20:6.0f} MiB/s, "
                      f"peak memory {peak_mib:,.0f} MiB")  # fmt: skip
            assert len(written) == 1


def make_lake(folder: str, n: int, text_bytes: int) -> None:
    """Provenance and filtered responses of n answers in shards of the same size."""
    lake = Lake(root=folder)
    candidates = synthetic(n)
    rng = np.random.default_rng(0)
    for first in range(0, n, ANSWERS_PER_SHARD):
        mine = candidates.slice(first, ANSWERS_PER_SHARD)
        cell = {**LOW, "question_shard": f"drop-{first // ANSWERS_PER_SHARD:03}"}
        lake.write("response_provenance", mine.select(RESPONSE_PROVENANCE.names), cell)
        lake.write("filtered_responses", texts(mine, text_bytes, rng), cell)


def texts(rows: pa.Table, text_bytes: int, rng: np.random.Generator) -> Iterator[pa.RecordBatch]:
    """Filtered responses of the rows, with texts that compress to a half."""
    for batch in rows.to_batches(ROWS_PER_BATCH):
        fill = {
            "question": "What is 1 + 1?", "logprobs_mode": "raw_logprobs", "reasoning": "",
            "answer": "", "teacher_logprobs": [], "teacher_token_starts": [], "is_correct": None,
        }  # fmt: skip
        columns = {name: [value] * batch.num_rows for name, value in fill.items()}
        columns["response_text"] = [rng.bytes(text_bytes // 2).hex() for _ in range(batch.num_rows)]
        yield pa.RecordBatch.from_arrays(
            [
                batch[field.name]
                if field.name in batch.schema.names
                else pa.array(columns[field.name], field.type)
                for field in FILTERED_RESPONSES
            ],
            schema=FILTERED_RESPONSES,
        )


def measure(way: str, folder: str) -> tuple[float, float, str]:
    """Seconds, peak memory in MiB and a hash of the rows that were written."""
    lake = Lake(root=folder)
    shards = shards_to_draw_from(lake, "low").ready
    responses = lake.read_partitions("response_provenance", **LOW).drop_columns("temperature")
    settings = DivergenceSampling(budget_samples={"low": responses.num_rows // 2})
    settings = settings.model_copy(update={"max_answers_per_question": 4})
    candidates = select(responses, settings, "low", 0)
    start = time.perf_counter()
    if way == "asset":
        scratch = Path(folder, "_scratch")
        with sample_of(candidates, lake, shards, scratch, settings.weights) as batches:
            lake.write("divergence_sample", batches, LOW)
    else:
        selected = candidates.filter(candidates["is_selected"])
        ones = pa.array([1.0] * selected.num_rows, pa.float32())
        selected = selected.append_column("weight", ones)
        found = lake.read_partitions("filtered_responses", TEXT_COLUMNS, **LOW)
        joined = selected.join(found.select(TEXT_COLUMNS), keys="response_id", join_type="inner")
        ordered = joined.sort_by([("domain", "ascending"), ("rank", "ascending")])
        rows = ordered.select(DIVERGENCE_SAMPLE.names).cast(DIVERGENCE_SAMPLE)
        lake.write("divergence_sample", rows, LOW)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows_hash = hashlib.sha256()
    for batch in lake.batches("divergence_sample", LOW):
        for row in batch.to_pylist():
            rows_hash.update(json.dumps(row).encode())
    return seconds, peak, rows_hash.hexdigest()


if __name__ == "__main__":
    main()
