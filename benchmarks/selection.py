"""Selection over a candidate table: answers/s of the array code against a plain Python loop.

    python -m benchmarks.selection [--answers 435000] [--strata 4] [--ours-only]

The candidates are synthetic: four domains, four answers to a question, lengths around 8,000 tokens,
and as many equal scores as shares of sentences have. The plain loop sorts dictionaries and walks
down the list; it starts from ready dictionaries, and must choose the same answers and the same
random control. The budget is half of the answers, in samples and in tokens.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import resource
import time
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pyarrow as pa

from dasd_assets.divergence_sampling.quotas import shared_out
from dasd_assets.divergence_sampling.selection import select
from dasd_assets.profile import DivergenceSampling
from resources.lake.tables.divergence_sampling import RESPONSE_PROVENANCE

DOMAINS = ("code", "instruction_following", "math", "science")
ANSWERS_PER_QUESTION = 4
MEAN_TOKENS = 8_000
SEED = 0

Rows = list[dict[str, Any]]


def main() -> None:
    """Print answers/s of both, their ratio, and the memory at the peak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=435_000)
    parser.add_argument("--strata", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ours-only", action="store_true", help="without the plain loop")
    arguments = parser.parse_args()
    candidates = synthetic(arguments.answers)
    n_tokens = int(candidates["n_student_tokens"].to_numpy().sum())
    before = peak_mib()
    budgets = [
        DivergenceSampling(
            budget_samples={} if in_tokens else {"low": arguments.answers // 2},
            budget_tokens={"low": n_tokens // 2} if in_tokens else {},
            policy="divergence_share",
            best_of_question=False,  # as the loop below has it
            max_answers_per_question=3,
            length_strata=arguments.strata,
        )
        for in_tokens in (False, True)
    ]
    print(f"{arguments.answers:,} answers, {n_tokens:,} tokens, {arguments.strata} strata; best of "
          f"{arguments.rounds} rounds")  # fmt: skip
    arrays, plain = ([math.inf, math.inf] for _ in range(2))
    chosen = []
    for place, settings in enumerate(budgets):
        start = time.perf_counter()
        chosen.append(names(select(candidates, settings, "low", SEED)))
        arrays[place] = time.perf_counter() - start
    print(f"peak memory: {peak_mib():,.0f} MiB, of which {before:,.0f} with the candidates alone")
    rows = [] if arguments.ours_only else candidates.to_pylist()
    for _ in range(arguments.rounds):  # interleaved: the machine's noise meets all
        for place, settings in enumerate(budgets):
            start = time.perf_counter()
            select(candidates, settings, "low", SEED)
            arrays[place] = min(arrays[place], time.perf_counter() - start)
            if rows:
                start = time.perf_counter()
                expected = plain_python(rows, settings)
                plain[place] = min(plain[place], time.perf_counter() - start)
                assert chosen[place] == expected
    for place, settings in enumerate(budgets):
        unit, budget = settings.budget("low")
        print(f"budget of {budget:,} {unit}: {len(chosen[place][0]):,} chosen, "
              f"{len(chosen[place][1]):,} in the random control")  # fmt: skip
        print(f"  arrays:       {arguments.answers / arrays[place]:>12,.0f} answers/s "
              f"({arrays[place]:.2f} s)")  # fmt: skip
        if rows:
            print(f"  plain Python: {arguments.answers / plain[place]:>12,.0f} answers/s "
                  f"({plain[place]:.2f} s)")  # fmt: skip
            print(f"  ratio: {plain[place] / arrays[place]:.1f}")


def synthetic(n: int) -> pa.Table:
    """Candidates with the schema RESPONSE_PROVENANCE and their shard."""
    rng = np.random.default_rng(SEED)
    question = np.arange(n) // ANSWERS_PER_QUESTION
    classes = {name: rng.integers(1, 200, n) for name in ("teacher", "student", "common")}
    n_sentences = sum(classes.values())
    columns = {
        "response_id": [f"{index:032x}" for index in rng.permutation(n)],
        "question_id": [f"{index:032x}" for index in question],
        "domain": np.array(DOMAINS)[question % len(DOMAINS)].tolist(),
        "sample_index": np.arange(n) % ANSWERS_PER_QUESTION,
        "n_teacher_tokens": rng.poisson(MEAN_TOKENS, n),
        "n_student_tokens": (rng.gamma(2.0, MEAN_TOKENS / 2, n) + 1).astype(np.int64),
        "n_sentences": n_sentences,
        **{f"n_{name}_sentences": counts for name, counts in classes.items()},
        "teacher_sentence_share": (classes["teacher"] / n_sentences).astype(np.float32).round(2),
        **{f"n_{name}_sentence_tokens": 20 * counts for name, counts in classes.items()},
        **{f"p_{model}": rng.random(n, np.float32) for model in ("teacher", "student")},
        **{
            f"mean_{kind}student_rank": rng.uniform(1, 100, n).astype(np.float32)
            for kind in ("", "clipped_")
        },
    }
    arrays = [pa.array(columns[field.name], field.type) for field in RESPONSE_PROVENANCE]
    table = pa.Table.from_arrays(arrays, schema=RESPONSE_PROVENANCE)
    return table.append_column("question_shard", pa.repeat("drop-01", n))


def plain_python(rows: Rows, settings: DivergenceSampling) -> tuple[set[str], set[str]]:
    """Ids of the chosen and of the random control, row by row; the quotas are ours."""
    unit, budget = settings.budget("low")
    by_domain: defaultdict[str, Rows] = defaultdict(list)
    for row in rows:
        row["lot"], row["draw"] = lot(row, ""), lot(row, "random control\0")
        row["size"] = row["n_student_tokens"] if unit == "tokens" else 1
        by_domain[row["domain"]].append(row)
    allowed, available = {}, {}
    for name in sorted(by_domain):
        add_strata(by_domain[name], settings.length_strata)
        by_domain[name].sort(key=lambda row: (-row["teacher_sentence_share"], row["lot"]))
        for rank, row in enumerate(by_domain[name]):
            row["rank"] = rank
        allowed[name] = first_answers(by_domain[name], settings.max_answers_per_question)
        available[name] = sum(row["size"] for row in allowed[name])
    quotas = shared_out(budget, available, available)
    chosen: set[str] = set()
    for name, mine in by_domain.items():
        strata = sorted({row["stratum"] for row in mine})
        sums = [Counter(dict.fromkeys(strata, 0)) for _ in range(2)]
        for counter, group in zip(sums, (allowed[name], mine), strict=True):
            for row in group:
                counter[row["stratum"]] += row["size"]
        by_stratum = shared_out(quotas[name], sums[0], sums[1])
        chosen |= fill(allowed[name], by_stratum, "size")
    left = sum(quotas.values()) - sum(row["size"] for row in rows if row["response_id"] in chosen)
    rest = [row for group in allowed.values() for row in group if row["response_id"] not in chosen]
    for row in sorted(rest, key=lambda row: (row["rank"], row["lot"])):
        if row["size"] <= left:
            chosen.add(row["response_id"])
            left -= row["size"]
    control: set[str] = set()
    for mine in by_domain.values():
        spent: Counter[int] = Counter()
        for row in mine:
            if row["response_id"] in chosen:
                spent[row["stratum"]] += row["n_student_tokens"]
        mine.sort(key=lambda row: row["draw"])
        drawn = first_answers(mine, settings.max_answers_per_question)
        control |= fill(drawn, spent, "n_student_tokens")
    return chosen, control


def lot(row: dict[str, Any], use: str) -> float:
    """The row's seeded number."""
    digest = hashlib.blake2b(f"{SEED}\0{use}{row['response_id']}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2.0**53


def add_strata(rows: Rows, n_strata: int) -> None:
    """Set the length stratum of each row."""
    lengths = sorted(row["n_student_tokens"] for row in rows)
    edges = [lengths[math.ceil(len(rows) * (i / n_strata)) - 1] for i in range(1, n_strata)]
    for row in rows:
        row["stratum"] = 1 + sum(edge < row["n_student_tokens"] for edge in edges)


def first_answers(rows: Rows, most: int) -> Rows:
    """At most so many rows of a question, in their order."""
    seen: Counter[str] = Counter()
    kept = []
    for row in rows:
        seen[row["question_id"]] += 1
        if seen[row["question_id"]] <= most:
            kept.append(row)
    return kept


def fill(rows: Rows, quotas: dict[int, int], size: str) -> set[str]:
    """Ids of what fits into each stratum, then of what fits into the rest of all."""
    left = dict(quotas)
    taken = set()
    for row in rows:
        if row[size] <= left.get(row["stratum"], 0):
            taken.add(row["response_id"])
            left[row["stratum"]] -= row[size]
    total = sum(left.values())
    for row in rows:
        if row["response_id"] not in taken and row[size] <= total:
            taken.add(row["response_id"])
            total -= row[size]
    return taken


def names(table: pa.Table) -> tuple[set[str], set[str]]:
    """Ids of the chosen and of the random control."""
    return tuple(
        set(table.filter(table[column])["response_id"].to_pylist())
        for column in ("is_selected", "is_random_control")
    )


def peak_mib() -> float:
    """Most memory the process has held (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
