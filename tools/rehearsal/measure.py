"""One rehearsal: `dasd run` as a user gives it, then what Dagster and the disk tell of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from dasd_assets.cli.earlier_runs import measured
from dasd_assets.plan.measured import Measured, Totals
from tools.rehearsal.project import Size

SELECT = "+key:divergence_sample"
WORKERS = 2


@dataclass(frozen=True)
class Rehearsed:
    """What one size took.

    Attributes:
        assets: Dagster's own record of every asset, per part.
        table_bytes: lake table -> bytes on disk, those of no asset of their own too.
        dagster_bytes: of the instance: runs, events, logs of the steps.
        n_runs: runs of `dasd run`.
        wall_seconds: of `dasd run`.
        run_peak_gib: of all its processes together, as it prints it.
        packed: of the packed sets, made by a process alone.
    """

    size: Size
    environment: dict[str, str]
    assets: Measured
    table_bytes: dict[str, int]
    dagster_bytes: int
    n_runs: int
    wall_seconds: float
    run_peak_gib: float
    packed: Totals

    def of(self, asset: str) -> Totals:
        """An asset, its parts together."""
        parts = [totals for (name, _), totals in self.assets.items() if name == asset]
        return Totals(
            partitions=sum(part.partitions for part in parts),
            rows=sum(part.rows for part in parts),
            seconds=sum(part.seconds for part in parts),
            n_bytes=sum(part.n_bytes for part in parts),
            tokens=sum(part.tokens for part in parts),
            peak_memory_gib=max(part.peak_memory_gib for part in parts),
        )

    @property
    def step_seconds(self) -> float:
        """Of all assets' steps, one after the other; their checks are not among them."""
        return sum(totals.seconds for totals in self.assets.values())


def rehearse(environment: dict[str, str], size: Size) -> Rehearsed:
    """Make everything up to the divergence sample, and pack it.

    Raises:
        CalledProcessError: `dasd run` failed; what it said is shown.
    """
    began = time.monotonic()
    said = _output(["dasd_assets.cli", "run", "--select", SELECT, "--workers", str(WORKERS)],
                   environment)  # fmt: skip
    wall_seconds = time.monotonic() - began
    last = re.search(r"(\d+) runs in .* peak memory ([\d.]+) GiB", said)
    assert last is not None, said[-2_000:]
    home = Path(environment["DASD_HOME"])
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        assets = measured(instance)
    packed = json.loads(_output(["tools.rehearsal.packed"], environment))
    return Rehearsed(
        size, environment, assets,
        table_bytes={
            table.name: _bytes_below(table)
            for table in sorted((home / "lake").iterdir())
            if table.is_dir() and not table.name.startswith("_")
        },
        dagster_bytes=_bytes_below(home / "dagster"),
        n_runs=int(last[1]), wall_seconds=wall_seconds, run_peak_gib=float(last[2]),
        packed=Totals(
            partitions=2, rows=packed["rows"], seconds=packed["seconds"], tokens=packed["tokens"],
            packing_efficiency=packed["efficiency"], peak_memory_gib=packed["peak_gib"],
        ),
    )  # fmt: skip


def _output(module: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(
        [sys.executable, "-m", *module],
        env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True,
    ).stdout  # fmt: skip


def _bytes_below(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
