"""The rules of a table's rows by the checks' queries, and by Great Expectations.

On DuckDB it is handed the suite of `raw_questions` as it is, on pandas without columns and types,
which a frame spells otherwise: nothing null or blank, unique ids, a set, a row count. Each way runs
in a process of its own; imports are not counted.

    python -m benchmarks.row_suites [--rows 1000000]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from checks.checked_partition import CheckedPartition
from checks.row_rules import rows_that_break
from checks.schema import contract_problems, table_checks
from checks.table_rules import rules_of
from dasd_assets.profile import load_profile
from resources.lake.lake import Lake
from resources.lake.tables import TABLES

TABLE = "raw_questions"
CELL = {"question_shard": "s"}


def main() -> None:
    """Make the partition, go through it in each way, print CPU, peak memory and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        way, folder = arguments.measure
        print(json.dumps(measured(WAYS[way], Lake(root=folder))))
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Lake(root=folder), arguments.rows)
        print(f"{arguments.rows:,} rows")
        least = 0.0
        for way in WAYS:
            command = [sys.executable, "-m", "benchmarks.row_suites", "--measure", way, folder]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = json.loads(out.splitlines()[-1])
            least = least or found["cpu"]
            print(f"  {way:10} {found['cpu']:6.2f} s of CPU ({found['cpu'] / least:4.1f} x), "
                  f"peak {found['peak_mib']:,.0f} MiB above the start")  # fmt: skip


def make(lake: Lake, n_rows: int) -> None:
    """Questions of about a hundred characters, which keep every rule."""
    domain = next(iter(load_profile("tiny").domains))
    texts = [
        f"What is the sum of all numbers from {n} to {n + 7}, and why? " * 2 for n in range(n_rows)
    ]
    plain = {"drop": ["d.jsonl"] * n_rows, "line": range(n_rows), "question": texts,
             "domain": [domain] * n_rows, "answer": ["4"] * n_rows}  # fmt: skip
    schema = TABLES[TABLE].schema
    columns = {
        name: plain.get(name, pa.nulls(n_rows, schema.field(name).type)) for name in schema.names
    }
    lake.write(TABLE, pa.table(columns, schema=schema), CELL)


def measured(way: Callable[[Lake], object], lake: Lake) -> dict[str, float]:
    """CPU seconds of all threads, and how far the process's memory rose."""
    import great_expectations.expectations  # noqa: F401 (not counted)
    import pandas  # noqa: F401

    import checks.row_suites  # noqa: F401

    before, start = _peak_mib(), time.process_time()
    way(lake)
    return {"cpu": time.process_time() - start, "peak_mib": _peak_mib() - before}


def by_checks(lake: Lake) -> None:
    """As each step does it."""
    with CheckedPartition(lake, CELL) as data:
        found = [contract_problems(data, (TABLE,)), *table_checks(data, (TABLE,))]
        found += [
            rows_that_break(data, TABLE, "line", rule)
            for rule in rules_of(TABLE, load_profile("tiny"))
        ]
        assert data.row(f"select count(*) as n from {TABLE}")["n"]
    assert not any(sum(one.values.values()) for one in found)


def on_duckdb(lake: Lake) -> None:
    """As `dasd data-docs --rows` does it."""
    from checks.row_suites import row_suite, write_views

    address, _ = write_views(lake, Path(lake.root, "rows.duckdb"))
    source = _context().data_sources.add_sql("rows", connection_string=address)
    batch = source.add_table_asset(TABLE, table_name=TABLE).add_batch_definition_whole_table("all")
    assert batch.get_batch().validate(row_suite(TABLE, load_profile("tiny"))).success


def on_pandas(lake: Lake) -> None:
    """The same suite but for columns and types."""
    import great_expectations as gx

    from checks.row_suites import PARTITION, row_suite

    frame = lake.read(TABLE, CELL).to_pandas().assign(**{PARTITION: "s"})
    suite = row_suite(TABLE, load_profile("tiny"))
    kept = [one for one in suite.expectations if one.meta["check"] != "matches_contract"]
    asset = _context().data_sources.add_pandas("frames").add_dataframe_asset(TABLE)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    assert batch.validate(gx.ExpectationSuite(name=TABLE, expectations=kept)).success


def _context() -> Any:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux


WAYS = {"checks": by_checks, "on DuckDB": on_duckdb, "on pandas": on_pandas}

if __name__ == "__main__":
    main()
