"""Sentence provenance: tokens/s of the array code against a plain Python loop, in one run.

    python -m benchmarks.provenance [--tokens 2000000] [--response-tokens 4000]

The tokens are synthetic: half are the teacher's, half the student's. The plain loop does the same
work token by token, on the first responses only, and must come to the same classes. Both cut the
sentences with the same segmenter; the ratio is shown with and without the time that takes.
"""

from __future__ import annotations

import argparse
import math
import resource
import time
from bisect import bisect_right
from collections import defaultdict

import numpy as np
import pyarrow as pa

from dasd_assets.divergence_sampling.provenance import sentence_provenance
from dasd_assets.divergence_sampling.sentences import DEFAULT_SEGMENTER, response_sentences
from dasd_assets.response_filtering.student_format import THINK_OPEN, part_spans, student_text
from resources.contracts import FILTERED_RESPONSES, STUDENT_SCORES

RATIO = 2.0
SENTENCE = "We add 3.5 and the carry to get naïve sums, e.g. 12. "
BYTES_PER_TOKEN = 4


def main() -> None:
    """Print tokens/s of both, their ratio, and the memory at the peak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=2_000_000, help="of both models together")
    parser.add_argument("--response-tokens", type=int, default=4_000, help="of one model")
    parser.add_argument("--plain-tokens", type=int, default=200_000, help="for the plain loop")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    n_responses = max(1, arguments.tokens // (2 * arguments.response_tokens))
    filtered, scores = synthetic(n_responses, arguments.response_tokens)
    n_plain = max(1, arguments.plain_tokens // (2 * arguments.response_tokens))
    few = filtered.slice(0, n_plain), scores.slice(0, n_plain)
    before = peak_mib()
    arrays, plain, cutting = [], [], []
    for _ in range(arguments.rounds):  # interleaved: the machine's noise meets all
        start = time.perf_counter()
        result = sentence_provenance(filtered, scores, RATIO, DEFAULT_SEGMENTER)
        arrays.append((time.perf_counter() - start) / n_tokens(filtered, scores))
        start = time.perf_counter()
        classes = plain_python(*few)
        plain.append((time.perf_counter() - start) / n_tokens(*few))
        start = time.perf_counter()
        segment(few[0])
        cutting.append((time.perf_counter() - start) / n_tokens(*few))
    assert result.sentences["sentence_class"].slice(0, len(classes)).to_pylist() == classes
    ours, theirs, both = min(arrays), min(plain), min(cutting)
    print(f"{n_tokens(filtered, scores):,} tokens, {result.sentences.num_rows:,} sentences, "
          f"{n_responses:,} responses; best of {arguments.rounds} rounds")  # fmt: skip
    print(f"arrays:       {1 / ours:>12,.0f} tokens/s")
    print(f"plain Python: {1 / theirs:>12,.0f} tokens/s")
    print(f"ratio: {theirs / ours:.1f}")
    print(f"cutting sentences, in both: {both / ours:.0%} of the time of the arrays")
    print(f"ratio without it: {(theirs - both) / (ours - both):.1f}")
    print(f"peak memory: {peak_mib():,.0f} MiB, of which {before:,.0f} before the first round")


def synthetic(n_responses: int, n_response_tokens: int) -> tuple[pa.Table, pa.Table]:
    """Responses of equal length, each under two tokenisations; schemas as in the lake."""
    rng = np.random.default_rng(0)
    n_sentences = n_response_tokens * BYTES_PER_TOKEN // len(SENTENCE.encode())
    reasoning, answer = (SENTENCE * n_sentences).strip(), "The answer is 12."
    (first, _), (_, end) = part_spans(reasoning, answer)
    filtered, scores = [], []
    for index in range(n_responses):
        teacher, student = (
            np.sort(rng.integers(first, end, n_response_tokens, dtype=np.int32)) for _ in range(2)
        )
        teacher[0] = student[0] = len(THINK_OPEN)
        filtered.append(
            {
                "response_id": f"r{index}", "question_id": f"q{index}", "domain": "math",
                "question": "?", "sample_index": 0, "logprobs_mode": "raw_logprobs",
                "reasoning": reasoning, "answer": answer,
                "response_text": student_text(reasoning, answer),
                "n_teacher_tokens": n_response_tokens, "n_student_tokens": n_response_tokens,
                "teacher_logprobs": -rng.exponential(0.5, n_response_tokens).astype(np.float32),
                "teacher_token_starts": teacher,
            }
        )  # fmt: skip
        scores.append(
            {
                "response_id": f"r{index}", "model": "student", "model_revision": "0",
                "token_ids": np.zeros(n_response_tokens, np.int32),
                "logprobs": -rng.exponential(0.7, n_response_tokens).astype(np.float32),
                "ranks": np.ones(n_response_tokens, np.int32), "token_starts": student,
            }
        )  # fmt: skip
    return (
        pa.Table.from_pylist(filtered, schema=FILTERED_RESPONSES),
        pa.Table.from_pylist(scores, schema=STUDENT_SCORES),
    )


def plain_python(filtered: pa.Table, scores: pa.Table) -> list[str]:
    """The class of every sentence, token by token; template bytes hold no token here."""
    classes = []
    for row, score in zip(filtered.to_pylist(), scores.to_pylist(), strict=True):
        cut = response_sentences(row["reasoning"], row["answer"], DEFAULT_SEGMENTER)
        bounds = [sentence.start_byte for sentence in cut]
        means: list[dict[int, float]] = []
        for starts, logprobs in (
            (row["teacher_token_starts"], row["teacher_logprobs"]),
            (score["token_starts"], score["logprobs"]),
        ):
            sums: defaultdict[int, float] = defaultdict(float)
            counts: defaultdict[int, int] = defaultdict(int)
            for start, logprob in zip(starts, logprobs, strict=True):
                place = bisect_right(bounds, start) - 1
                if start < cut[place].end_byte:
                    sums[place] += logprob
                    counts[place] += 1
            means.append({place: total / counts[place] for place, total in sums.items()})
        for place in range(len(cut)):
            if place not in means[0] or place not in means[1]:
                classes.append("unscored")
                continue
            gap = means[0][place] - means[1][place]
            far = math.log(RATIO)
            classes.append("teacher" if gap >= far else "student" if gap <= -far else "shared")
    return classes


def segment(filtered: pa.Table) -> None:
    """Cut the sentences of all responses."""
    for row in filtered.select(["reasoning", "answer"]).to_pylist():
        response_sentences(row["reasoning"], row["answer"], DEFAULT_SEGMENTER)


def n_tokens(filtered: pa.Table, scores: pa.Table) -> int:
    """Tokens of both models."""
    return sum(
        len(rows[name].combine_chunks().flatten())
        for rows, name in ((filtered, "teacher_logprobs"), (scores, "logprobs"))
    )


def peak_mib() -> float:
    """Most memory the process has held (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
