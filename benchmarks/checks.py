"""Checks of token logprobs: over a DuckDB summary, and by Great Expectations over a row per token.

The same three expectations (nothing missing or not finite, nothing above 0, a plausible mean) on
synthetic filtered responses of two sizes. Ours: DuckDB reduces the lists to a few numbers, which
are held against the limits. Plain: the suite on a table with one row per token. Each way
runs in a process of its own; imports are not timed.

    python -m benchmarks.checks [--tokens 1e6 8e6]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.provenance import make
from checks.checked_partition import CheckedPartition
from checks.expectations import judge
from checks.logprobs import logprob_checks
from dasd_assets.profile.check_settings import CheckSettings
from resources.lake.lake import Lake

OURS, PLAIN = "summary", "row per token"
MEAN = (-20.0, 0.0)


def main() -> None:
    """Make both partitions, check each in both ways, print seconds, peaks and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=float, nargs="+", default=[1e6, 8e6])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        way, name, folder = arguments.measure
        print(json.dumps(measured(way, Lake(root=folder), _cell(name), arguments.rounds)))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, n_tokens in enumerate(arguments.tokens):
            facts = make(Lake(root=folder), str(name), int(n_tokens))
            result = {way: child(way, str(name), folder, arguments.rounds) for way in (OURS, PLAIN)}
            print(f"{facts['responses']:,} answers, {result[OURS]['tokens']:,} logprobs")
            for way, found in result.items():
                print(f"  {way:14} {found['reduce']:7.3f} s to reduce, {found['judge']:7.3f} s to "
                      f"judge, peak {found['peak_mib']:,.0f} MiB above the start")  # fmt: skip
            ours, plain = (run["reduce"] + run["judge"] for run in result.values())
            print(f"  ratio of the times: {plain / ours:.1f}")


def child(way: str, name: str, folder: str, rounds: int) -> dict[str, Any]:
    """One measurement in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.checks", "--rounds", str(rounds),
               "--measure", way, name, folder]  # fmt: skip
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return result


def measured(way: str, lake: Lake, cell: dict[str, str], rounds: int) -> dict[str, Any]:
    """Best seconds of both halves, tokens, and how far the process's memory rose."""
    check = with_summary if way == OURS else row_per_token
    judge_nothing()  # the imports
    before = _peak_mib()
    runs = [check(lake, cell) for _ in range(rounds)]
    best = min(runs, key=lambda run: run["reduce"] + run["judge"])
    return {**best, "peak_mib": _peak_mib() - before}


def with_summary(lake: Lake, cell: dict[str, str]) -> dict[str, float]:
    """As `checks/` does it."""
    start = time.perf_counter()
    with CheckedPartition(lake, cell) as data:
        data.view("filtered_responses", *cell)
        found = list(logprob_checks(data, "filtered_responses"))
        n_tokens = data.row("select sum(n_tokens) as n from reduced")["n"]
    middle = time.perf_counter()
    limits = {"one_logprob_per_token": (0, 0), "logprobs_not_positive": (None, 0.0001),
              "mean_logprob": MEAN}  # fmt: skip
    settings = {
        name: CheckSettings(severity="error", min=low, max=high)
        for name, (low, high) in limits.items()
    }
    assert all(verdict.passed for verdict in judge(found, settings))
    return {"reduce": middle - start, "judge": time.perf_counter() - middle, "tokens": n_tokens}


def row_per_token(lake: Lake, cell: dict[str, str]) -> dict[str, float]:
    """Great Expectations on all values, as its tutorials use it."""
    import great_expectations as gx
    import great_expectations.expectations as gxe
    import pandas as pd
    from great_expectations.data_context.types.base import ProgressBarsConfig

    start = time.perf_counter()
    lists = lake.read("filtered_responses", cell, ["teacher_logprobs"])["teacher_logprobs"]
    values = lists.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    middle = time.perf_counter()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("lake").add_dataframe_asset("tokens")
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch(
        batch_parameters={"dataframe": pd.DataFrame({"logprob": values})}
    )
    suite = gx.ExpectationSuite(
        name="tokens",
        expectations=[
            gxe.ExpectColumnValuesToNotBeNull(column="logprob"),
            gxe.ExpectColumnValuesToBeBetween(column="logprob", max_value=0.0001),
            gxe.ExpectColumnMeanToBeBetween(column="logprob", min_value=MEAN[0], max_value=MEAN[1]),
        ],
    )
    assert batch.validate(suite).success
    return {"reduce": middle - start, "judge": time.perf_counter() - middle, "tokens": len(values)}


def judge_nothing() -> None:
    """Import what judging needs."""
    import great_expectations.expectations
    import pandas

    assert great_expectations.expectations and pandas


def _cell(name: str) -> dict[str, str]:
    return {"temperature": "low", "question_shard": name}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux


if __name__ == "__main__":
    main()
