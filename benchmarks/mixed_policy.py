"""Rollout questions and the mixed sample: peak memory and seconds against tables in memory.

    python -m benchmarks.mixed_policy [--answers 4000 16000] [--text-bytes 40000] [--ours-only]

For each size a lake is made in a temporary folder: divergence samples with that many answers to
half as many questions, of which a quarter have a continuation. Then, in a process of its own each,
questions are chosen for the rollouts of one shard (a tenth of all questions), and the mixed sample
is written (a twentieth of the answers off-policy): once as the assets do it, once with whole tables
in memory, which has to give the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import AutoTokenizer

from dasd_assets.mixed_policy_distillation.mixed_sample import (
    finish_continuations,
    off_policy_choice,
    off_policy_rows,
)
from dasd_assets.mixed_policy_distillation.rollouts import (
    QUESTION_COLUMNS,
    chosen_questions,
    sample_rollout_questions,
)
from dasd_assets.mixed_policy_distillation.write_sample import write_mixed_sample
from dasd_assets.profile import PROJECT_ROOT, load_profile
from formats.student_text import THINK_OPEN
from resources.lake.lake import Lake
from resources.lake.tables.divergence_sampling import DIVERGENCE_SAMPLE
from resources.lake.tables.mixed_policy_distillation import (
    MIXED_POLICY_SAMPLE,
    TEACHER_CONTINUATIONS,
)

STUDENT = PROJECT_ROOT / "tiny_world" / "models" / "student"
SHARD = {"question_shard": "drop-0"}
FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>It is 3.<|return|>"
SEED = 0
ROWS_PER_BATCH = 200
TOKENS_PER_CONTINUATION = 4_000


def main() -> None:
    """Print seconds and peak memory of both ways, for every size and step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, nargs="+", default=[4_000, 16_000])
    parser.add_argument("--text-bytes", type=int, default=40_000)
    parser.add_argument("--ours-only", action="store_true", help="without the tables in memory")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        step, way, folder, n = arguments.child
        print(json.dumps(measure(step, way, Lake(root=folder), int(n))))
        return
    for n in arguments.answers:
        with tempfile.TemporaryDirectory() as folder:
            make_lake(Lake(root=folder), n, arguments.text_bytes)
            print(f"{n:,} answers of {arguments.text_bytes:,} bytes "
                  f"({n * arguments.text_bytes / 2**30:.2f} GiB), "
                  f"{n // 8:,} continuations")  # fmt: skip
            for step in ("questions", "sample"):
                found = {}
                for way in ["assets"] if arguments.ours_only else ["assets", "in memory"]:
                    command = [sys.executable, "-m", "benchmarks.mixed_policy", "--child"]
                    result = subprocess.run(
                        [*command, step, way, folder, str(n)],
                        check=True, capture_output=True, text=True,
                    )  # fmt: skip
                    seconds, before, peak, found[way] = json.loads(result.stdout.splitlines()[-1])
                    print(f"  {step:<9} {way:<10} {seconds:7.1f} s, peak memory {peak:6,.0f} MiB "
                          f"({before:,.0f} at the start)")  # fmt: skip
                assert len(set(found.values())) == 1


def make_lake(lake: Lake, n: int, text_bytes: int) -> None:
    """Divergence samples of both temperatures, and continuations of an eighth as many."""
    rng = np.random.default_rng(SEED)
    for part, temperature in enumerate(("low", "high")):
        numbers = range(part * n // 2, (part + 1) * n // 2)
        lake.write(
            "divergence_sample",
            (answers(numbers[i : i + ROWS_PER_BATCH], n, text_bytes, rng)
             for i in range(0, len(numbers), ROWS_PER_BATCH)),
            {"temperature": temperature},
        )  # fmt: skip
    lake.write(
        "teacher_continuations",
        (continuations(range(i, min(i + ROWS_PER_BATCH, n // 8)), text_bytes, rng)
         for i in range(0, n // 8, ROWS_PER_BATCH)),
        SHARD,
    )  # fmt: skip


def text(n_bytes: int, rng: np.random.Generator) -> str:
    """Words that repeat nothing and compress to about a half."""
    words = rng.bytes(n_bytes // 2).hex()
    return " ".join(words[i : i + 7] for i in range(0, len(words), 8))


def answers(numbers: range, n: int, text_bytes: int, rng: np.random.Generator) -> pa.RecordBatch:
    """Rows of DIVERGENCE_SAMPLE."""
    rows = [
        {
            "response_id": f"r-{i:030}", "question_id": f"q-{i % (n // 2):030}", "domain": "math",
            "question": "What is 1 + 2?" * 20, "question_shard": f"drop-{i % 10}",
            "response_text": text(text_bytes, rng), "n_student_tokens": text_bytes // 4,
            "score": 0.5, "rank": i, "weight": 1.0,
        }
        for i in numbers
    ]  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, schema=DIVERGENCE_SAMPLE)


def continuations(numbers: range, text_bytes: int, rng: np.random.Generator) -> pa.RecordBatch:
    """Rows of TEACHER_CONTINUATIONS; the student wrote half of the text."""
    plain: dict[pa.DataType, Any] = {pa.string(): "x", pa.int32(): 1, pa.int64(): 1}
    rows = [
        {
            **{field.name: plain.get(field.type, 0.75) for field in TEACHER_CONTINUATIONS},
            "continuation_id": f"c-{i:030}", "question_id": f"q-{2 * i:030}", "domain": "math",
            "token_ids": rng.integers(0, 500, TOKENS_PER_CONTINUATION, np.int32),
            "logprobs": -rng.random(TOKENS_PER_CONTINUATION, np.float32),
            "finish_reason": "stop", "cut_part": "reasoning",
            "prefix_text": THINK_OPEN + text(text_bytes // 2, rng),
            "text": " " + text(text_bytes // 2, rng) + FINAL,
        }
        for i in numbers
    ]  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, schema=TEACHER_CONTINUATIONS)


def measure(step: str, way: str, lake: Lake, n: int) -> tuple[float, float, float, str]:
    """Seconds, memory in MiB before and at the peak, and a hash of what came out."""
    tokenizer = AutoTokenizer.from_pretrained(STUDENT, trust_remote_code=False)
    settings = load_profile("tiny").response_filtering.model_copy(
        update={"max_student_tokens": 10_000_000, "max_loop_characters": 10_000_000}
    )
    system_prompt, n_off_policy = load_profile("tiny").system_prompt, n // 20
    before = peak_mib()
    start = time.perf_counter()
    if step == "questions":
        if way == "assets":
            chosen = chosen_questions(lake, SHARD["question_shard"], n // 4, SEED)
        else:
            whole = lake.read_partitions("divergence_sample")
            chosen = sample_rollout_questions(whole, n // 4, SEED)
            rows = [r for r in chosen.to_pylist() if r["question_shard"] == "drop-0"]
            schema = pa.schema([DIVERGENCE_SAMPLE.field(name) for name in QUESTION_COLUMNS])
            chosen = pa.Table.from_pylist(rows, schema=schema)
        found = hashlib.sha256(json.dumps(chosen.to_pylist()).encode()).hexdigest()
    else:
        if way == "assets":
            found = write_mixed_sample(
                lake, tokenizer, settings, system_prompt,
                n_off_policy=n_off_policy, distinct_questions=True, seed=SEED,
            ).written.data_version  # fmt: skip
        else:
            finished = finish_continuations(
                lake.read_partitions("teacher_continuations"), tokenizer, settings, system_prompt
            )
            off_policy = lake.read_partitions("divergence_sample")
            taken = finished.kept["question_id"]
            chosen = off_policy_choice(off_policy, taken, n_off_policy, SEED)
            added = off_policy_rows(off_policy.to_batches(), chosen)
            rows = [finished.kept, pa.Table.from_batches(added, MIXED_POLICY_SAMPLE)]
            mixed = pa.concat_tables(rows)
            found = lake.write("mixed_policy_sample", mixed).data_version
    return time.perf_counter() - start, before, peak_mib(), found


def peak_mib() -> float:
    """The most memory that the process has had since it was started.

    `getrusage` would count the parent's memory too: it is kept from before the program's start.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
