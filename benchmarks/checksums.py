"""Checksums: what they cost when a partition is written, read, opened and looked at.

    python -m benchmarks.checksums [--tokens 8000000] [--rounds 5]

The rows are the synthetic answers of `benchmarks.storage`, as a large model could give them. Each
ratio is of the same work with and without: pages with checksums and a manifest against the same
file written by the same writer with neither; reading all columns, and the ids alone, with chunks
and pages verified against pyarrow reading the same file. All in one run, in turns, so that the
machine's noise meets both; the file is in memory or in the page cache, where checksums cost most.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.storage import SCHEMA, synthetic_sample
from resources.lake.examination import Examination
from resources.lake.lake import Lake
from resources.lake.manifest import Manifest, parquet_record
from resources.lake.parquet_layout import row_groups, writer_options
from resources.lake.verified_parquet import VerifiedParquet


def main() -> None:
    """Print seconds of CPU time with and without, and their ratio, best of the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=8_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="on the disk to measure; default: the temporary folder")
    arguments = parser.parse_args()
    rows = synthetic_sample(arguments.tokens, is_by_frequency=True)
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        with_sums, without = Path(folder, "with.parquet"), Path(folder, "without.parquet")
        pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "write": (lambda: write(rows, with_sums, True), lambda: write(rows, without, False)),
            "read": (lambda: verified(with_sums, SCHEMA.names), lambda: plain(without, None)),
            "read the ids": (
                lambda: verified(with_sums, ["token_ids"]), lambda: plain(without, ["token_ids"])
            ),
        }  # fmt: skip
        for name, (ours, theirs) in pairs.items():
            seconds = [(timed(ours), timed(theirs)) for _ in range(arguments.rounds)]
            best = [min(column) for column in zip(*seconds, strict=True)]
            print(
                f"{name:14}{best[0]:8.2f} s with, {best[1]:6.2f} s without: {best[0] / best[1]:.2f}"
            )
        n_bytes = with_sums.stat().st_size
        manifest = len(Path(f"{with_sums}.json").read_bytes())
        print(
            f"file {n_bytes / 1e6:,.0f} MB, manifest {manifest:,} bytes ({manifest / n_bytes:.1e})"
        )
        print(f"a glance at 1,000 partitions: {glance(Path(folder, 'lake')):.2f} s")


def write(rows: pa.Table, file: Path, has_sums: bool) -> None:
    """Write a file in the lake's layout, as the lake does or without any checksum of ours."""
    options = writer_options(rows.schema) | {"write_page_checksum": has_sums}
    with pq.ParquetWriter(file, rows.schema, **options) as writer:
        for group in row_groups(rows.to_batches()):
            writer.write_table(group, row_group_size=group.num_rows)
    if has_sums:
        Path(f"{file}.json").write_bytes(Manifest(parquet_record(file)).to_json())


def verified(file: Path, columns: list[str]) -> None:
    """Read as the lake does."""
    manifest = Manifest.from_json(Path(f"{file}.json").read_bytes())
    with VerifiedParquet(file, manifest) as parquet:
        for number in range(parquet.n_groups):
            parquet.group(number, columns)


def plain(file: Path, columns: list[str] | None) -> None:
    """Read with pyarrow alone."""
    parquet = pq.ParquetFile(file)
    for number in range(parquet.num_row_groups):
        parquet.read_row_group(number, columns=columns)


def glance(root: Path) -> float:
    """Seconds that `dasd status` looks at the files of 1,000 small partitions."""
    lake = Lake(root=str(root))
    written = lake.write("questions", [], {"question_shard": "s"})
    for number in range(999):
        other = lake.path("questions", {"question_shard": f"s{number}"})
        other.parent.mkdir()
        for ending in ("", ".manifest.json"):
            os.link(f"{written.path}{ending}", f"{other}{ending}")
    for file in root.rglob("*.manifest.json"):
        file.write_bytes(file.read_bytes())  # newer than what it speaks of
    names = [lake.name("questions", partition) for partition in lake.partitions("questions")]
    look = Examination(lake)
    return timed(lambda: [look.problem(name) for name in names])


def timed(work: Callable[[], Any]) -> float:
    """Seconds of CPU time that something takes, in all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
