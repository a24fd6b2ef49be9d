"""Sentence provenance of one partition in the lake, streamed: tokens/s, against plain Python, and
peak memory at two sizes.

The partition is synthetic: answers of 400 to 64,000 bytes of made-up reasoning (formulas, code,
lists, signs beyond ASCII) under two made-up tokenisations of about 4 bytes a token. What is timed
is what the asset does: read both tables, cut sentences, sum, classify, write both tables. Every
measurement is a process of its own, so that its peak is its own. Tokens of both models are
counted. "2 at once": two processes on a partition each, as `dasd run` works, on two cores.

    python -m benchmarks.provenance                          # small, about a minute
    python -m benchmarks.provenance --tokens 50e6 200e6      # of each model
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dasd_assets.divergence_sampling.provenance_run import write_provenance
from dasd_assets.divergence_sampling.sentences import Segmenter, segmenter_named
from dasd_assets.profile.divergence_sampling import DifferenceRule
from formats.student_text import part_spans, student_text
from resources.lake.lake import Lake
from resources.lake.tables.divergence_sampling import STUDENT_SCORES
from resources.lake.tables.response_filtering import FILTERED_RESPONSES

RULE = DifferenceRule()
PAPER_ANSWERS = 435_000
SENTENCES = [
    "We add {a} and {b} and carry the one. ", "So x = {a}.{b}, which is below {b}. ",
    "Wait, that’s not right — let me redo it. ", "Hence \\(x_{a} \\le {b}\\), and $y = {a}$. ",
    "- case {a}: the sum stays even\n", "{a}. Compute the product, e.g. {a} × {b}.\n",
    "By Fig. {a} the naïve bound is off by a factor of {b}, so we need a better one. ",
    "Is {a} prime? ", "No. ", "Then f({a}) = {b}.\n\n", "\\[\nx^2 + {a}x = {b}.\n\\]\n",
    "```python\nfor i in range({a}):\n    print(i)  # {b}. Done\n```\n",
    "The remainder of {a} divided by {b} is what we are looking for, as shown before. ",
    "Therefore the first term dominates, and everything after it can be bounded by {b}. ",
]  # fmt: skip
BYTES = (400, 64_000)
RESPONSES_PER_BATCH = 64


@dataclass(frozen=True)
class Pools:
    """Random material that responses take slices of, so that making them takes little time."""

    text: str
    logprobs: npt.NDArray[np.float32]
    ranks: npt.NDArray[np.int32]
    steps: npt.NDArray[np.int32]


def main() -> None:
    """Make the partitions, measure each in its own process, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=float, nargs="+", default=[2e6, 8e6], help="of each model")
    parser.add_argument("--plain-tokens", type=float, default=2e5, help="for the plain loop")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--segmenter", default="reasoning-rules")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        what, folder = arguments.measure
        print(json.dumps(measured(what, Lake(root=folder), segmenter_named(arguments.segmenter))))
        return
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(root=folder)
        for name, tokens in [*enumerate(arguments.tokens), ("plain", arguments.plain_tokens)]:
            facts = make(lake, str(name), int(tokens))
            print(f"partition {name}: {facts['responses']:,} answers, {facts['tokens']:,} tokens "
                  f"of both models, {facts['bytes']:,} bytes of text", flush=True)  # fmt: skip
        rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        names = [*map(str, range(len(arguments.tokens))), "plain", "plain:loop"]
        for _ in range(arguments.rounds):  # interleaved: the machine's noise meets all
            for name in names:
                rows[name].append(child(name, folder, arguments.segmenter))
            with ThreadPoolExecutor(2) as threads:
                pair = list(threads.map(child, "00", [folder] * 2, [arguments.segmenter] * 2))
            both = {key: sum(run[key] for run in pair) for key in ("tokens", "responses")}
            slower = max(pair, key=lambda run: run["seconds"])
            rows["2 at once"].append({**slower, **both})
    report(rows)


def report(rows: dict[str, list[dict[str, Any]]]) -> None:
    """Best of the rounds of each measurement, and the highest peak."""
    best = {name: min(runs, key=lambda run: run["seconds"]) for name, runs in rows.items()}
    for name, run in best.items():
        peak = max(other["peak_mib"] for other in rows[name])
        print(f"{name:12}{run['tokens'] / run['seconds']:>14,.0f} tokens/s, {run['tokens']:>13,} "
              f"tokens, {run['responses']:>7,} answers, {run['seconds']:7.2f} s, "
              f"{run['cpu_seconds']:7.2f} s CPU, peak {peak:,.0f} MiB")  # fmt: skip
    loop, same, pair = best["plain:loop"], best["plain"], best["2 at once"]
    if loop["classes"] != same["classes"]:
        raise AssertionError(f"the loop's classes differ: {loop['classes']}, {same['classes']}")
    # The small partition is mostly start-up: the ratio is taken per token with the largest.
    alone = max((best[name] for name in best if name.isdigit()), key=lambda run: run["tokens"])
    for unit in ("seconds", "cpu_seconds"):
        ratio = (loop[unit] / loop["tokens"]) / (alone[unit] / alone["tokens"])
        print(f"plain loop, time per token in {unit}: {ratio:.1f} x")
    mean = pair["tokens"] / 2 / pair["responses"]
    minutes = PAPER_ANSWERS * pair["seconds"] / pair["responses"] / 60
    print(f"{PAPER_ANSWERS:,} answers, two partitions at once: {minutes:.1f} minutes at "
          f"{mean:,.0f} tokens an answer, {minutes * 10_000 / mean:.0f} at 10,000")  # fmt: skip


def child(name: str, folder: str, segmenter: str) -> dict[str, Any]:
    """One measurement in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.provenance", "--measure", name, folder,
               "--segmenter", segmenter]  # fmt: skip
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    print(f"  {name}: {result['tokens'] / result['seconds']:,.0f} tokens/s, "
          f"{result['tokens'] / result['cpu_seconds']:,.0f} a CPU second, "
          f"peak {result['peak_mib']:,.0f} MiB", flush=True)  # fmt: skip
    return result


def measured(what: str, lake: Lake, segmenter: Segmenter) -> dict[str, Any]:
    """Seconds, counts and the peak memory of this process."""
    name, _, is_loop = what.partition(":")
    cell = {"temperature": "low", "question_shard": name}
    columns = ["n_teacher_tokens", "n_student_tokens"]
    sizes = lake.read("filtered_responses", cell, columns)
    n_tokens = sum(sum(sizes[column].to_pylist()) for column in columns)
    start, start_cpu = time.perf_counter(), time.process_time()
    if is_loop:
        classes = plain_python(lake, cell, segmenter)
    else:
        classes = write_provenance(lake, cell, RULE, segmenter)[1]["sentence_classes"]
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - start_cpu,
        "tokens": n_tokens,
        "responses": sizes.num_rows,
        "sentences": sum(classes.values()),
        "classes": dict(sorted(classes.items())),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,  # KiB on Linux
    }


def plain_python(lake: Lake, cell: dict[str, str], segmenter: Segmenter) -> dict[str, int]:
    """Counts of classes, token by token; reads the same tables, writes nothing."""
    classes: defaultdict[str, int] = defaultdict(int)
    filtered, scores = (lake.read(t, cell) for t in ("filtered_responses", "student_scores"))
    for row, score in zip(filtered.to_pylist(), scores.to_pylist(), strict=True):
        bounds: list[int] = []
        ends: list[int] = []
        spans = part_spans(row["reasoning"], row["answer"])
        for text, (place, _) in zip((row["reasoning"], row["answer"]), spans, strict=True):
            for start, end in pairwise([0, *segmenter.ends(text)]):
                bounds.append(place)
                place += len(text[start:end].encode())
                ends.append(place)
        means: list[dict[int, float]] = []
        for starts, logprobs in (
            (row["teacher_token_starts"], row["teacher_logprobs"]),
            (score["token_starts"], score["logprobs"]),
        ):
            sums: defaultdict[int, float] = defaultdict(float)
            counts: defaultdict[int, int] = defaultdict(int)
            for start, logprob in zip(starts, logprobs, strict=True):
                sentence = bisect_right(bounds, start) - 1
                if sentence >= 0 and start < ends[sentence]:
                    sums[sentence] += logprob
                    counts[sentence] += 1
            means.append({place: total / counts[place] for place, total in sums.items()})
        for sentence in range(len(bounds)):
            if sentence not in means[0] or sentence not in means[1]:
                classes["unscored"] += 1
                continue
            gap = math.exp(means[0][sentence]) - math.exp(means[1][sentence])
            far = RULE.beta
            classes["teacher" if gap > far else "student" if gap < -far else "common"] += 1
    return classes


def make(lake: Lake, shard: str, n_tokens: int) -> dict[str, int]:
    """Write both tables of one partition, in bounded memory."""
    cell = {"temperature": "low", "question_shard": shard}
    facts = {"responses": 0, "tokens": 0, "bytes": 0}

    def filtered() -> Iterator[pa.RecordBatch]:
        for responses, _ in synthetic(n_tokens):
            facts["responses"] += responses.num_rows
            for name in ("n_teacher_tokens", "n_student_tokens"):
                facts["tokens"] += sum(responses[name].to_pylist())
            facts["bytes"] += sum(len(t.encode()) for t in responses["response_text"].to_pylist())
            yield responses

    lake.write("filtered_responses", filtered(), cell)
    lake.write("student_scores", (scores for _, scores in synthetic(n_tokens)), cell)
    return facts


def synthetic(n_tokens: int) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """Batches with the schemas FILTERED_RESPONSES and STUDENT_SCORES; the same at every call."""
    rng = np.random.default_rng(0)
    pieces = [
        SENTENCES[kind].replace("{a}", str(a)).replace("{b}", str(b))
        for kind, a, b in zip(rng.integers(0, len(SENTENCES), 40_000),
                              rng.integers(2, 99, 40_000), rng.integers(2, 99, 40_000),
                              strict=True)
    ]  # fmt: skip
    pools = Pools(
        "".join(pieces),
        -rng.exponential(0.6, 1_000_000).astype(np.float32),
        rng.geometric(0.3, 1_000_000).astype(np.int32),
        rng.integers(1, 8, 1_000_000).astype(np.int32),
    )
    n_made = n_rows = 0
    while n_made < n_tokens:
        rows = []
        while len(rows) < RESPONSES_PER_BATCH and n_made < n_tokens:
            rows.append(_response(n_rows, rng, pools))
            n_rows, n_made = n_rows + 1, n_made + len(rows[-1][0]["teacher_token_starts"])
        yield (
            _batch([row for row, _ in rows], FILTERED_RESPONSES),
            _batch([score for _, score in rows], STUDENT_SCORES),
        )


def _batch(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    columns = []
    for field in schema:
        values = [row[field.name] for row in rows]
        if isinstance(field.type, pa.ListType):
            offsets = np.cumsum([0, *map(len, values)], dtype=np.int32)
            flat = pa.array(np.concatenate(values), field.type.value_type)
            columns.append(pa.ListArray.from_arrays(pa.array(offsets), flat, type=field.type))
        else:
            columns.append(pa.array(values, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _response(
    index: int, rng: np.random.Generator, pools: Pools
) -> tuple[dict[str, Any], dict[str, Any]]:
    size = int(np.exp(rng.uniform(*np.log(BYTES))))
    start = int(rng.integers(0, len(pools.text) - size))
    reasoning, answer = pools.text[start : start + size].strip(), "The answer is 12. Check: yes."
    spans = part_spans(reasoning, answer)
    teacher, student = (_starts(spans, rng, pools.steps) for _ in range(2))
    # A shift of its own for every answer: in half of them the student is the surer one.
    teacher_logprobs, student_logprobs = (
        _slice(pools.logprobs, rng, len(starts)) * np.float32(rng.uniform(0.5, 2))
        for starts in (teacher, student)
    )
    name = f"{index:016x}"
    row = {
        "response_id": name, "question_id": f"q{index // 4:015x}", "domain": "math",
        "question": "?", "sample_index": index % 4, "logprobs_mode": "raw_logprobs",
        "reasoning": reasoning, "answer": answer, "response_text": student_text(reasoning, answer),
        "n_teacher_tokens": len(teacher), "n_student_tokens": len(student),
        "teacher_logprobs": teacher_logprobs, "teacher_token_starts": teacher, "is_correct": None,
    }  # fmt: skip
    score = {
        "response_id": name, "model": "student", "model_revision": "0",
        "token_ids": _slice(pools.ranks, rng, len(student)), "logprobs": student_logprobs,
        "ranks": _slice(pools.ranks, rng, len(student)), "token_starts": student,
    }  # fmt: skip
    return row, score


def _starts(
    spans: tuple[tuple[int, int], tuple[int, int]],
    rng: np.random.Generator,
    steps: npt.NDArray[np.int32],
) -> npt.NDArray[np.int32]:
    """Starts of tokens of 1 to 7 bytes; -1 between the parts and at the end."""
    (first, reasoning_end), (answer_start, end) = spans
    starts = first + np.cumsum(_slice(steps, rng, end // 3)) - 1
    starts = np.concatenate([[first], starts[starts < end], [-1]])
    is_template = (starts >= reasoning_end) & (starts < answer_start)
    return np.where(is_template, -1, starts).astype(np.int32)


def _slice(pool: npt.NDArray[Any], rng: np.random.Generator, n: int) -> npt.NDArray[Any]:
    start = int(rng.integers(0, len(pool) - n))
    part: npt.NDArray[Any] = pool[start : start + n]
    return part


if __name__ == "__main__":
    main()
