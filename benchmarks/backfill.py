"""What Dagster costs per partition beyond the work itself, over many small partitions.

Teacher responses of the tiny profile, ten temperatures by as many shards as it takes, from a server
that answers at once. Three ways on the same machine, each in a data folder of its own: `dasd run`;
a backfill by the daemon, as the UI starts it; and that with Dagster's own executor, which starts a
Python for every step. Work: the time between start and end of the steps under `dasd run`, which
has the libraries imported, divided by the partitions that are made side by side.

    python -m benchmarks.backfill [--partitions 200] [--started-anew 20]
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from transformers import AutoTokenizer

from dasd_assets.dagster_internals import graph_view, start_backfill
from dasd_assets.profile import PROFILE_FOLDER, PROJECT_ROOT
from tests.support.daemon import Daemon, until
from tests.support.faulty_server import FaultyServer

ASSET = dg.AssetKey("teacher_responses")
TEMPERATURES = ["low", "high", *(f"t{number}" for number in range(8))]
QUESTIONS_PER_SHARD = 5
SIDE_BY_SIDE = 2
ANEW = "daemon with steps started anew"


@dataclass(frozen=True)
class Found:
    """What one way took, in seconds."""

    partitions: int
    wall: float
    in_steps: float

    def overhead(self, work: float) -> float:
        """Seconds per partition beyond the work, with as much side by side as there is."""
        return self.wall / self.partitions - work / SIDE_BY_SIDE


def main() -> None:
    """Make the partitions in the three ways and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--partitions", type=int, default=200)
    parser.add_argument("--started-anew", type=int, default=20, help="partitions of the third way")
    arguments = parser.parse_args()
    folder = PROJECT_ROOT / "tiny_world" / "models" / "teacher"
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    server = FaultyServer(tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        found: dict[str, Found] = {}
        for way, partitions, make in (
            ("dasd run", arguments.partitions, by_command),
            ("daemon", arguments.partitions, by_daemon),
            (ANEW, arguments.started_anew, by_daemon_anew),
        ):
            engine = {
                "kind": "openai", "base_url": server.base_url, "served_model": server.model,
                "concurrency": 8,
            }  # fmt: skip
            found[way] = make(project(here, way.replace(" ", "-"), engine, partitions))
            print(f"{way}: {found[way]}", flush=True)
    server.close()
    work = found["dasd run"].in_steps / found["dasd run"].partitions
    plain = found[ANEW].overhead(work)
    print(f"work: {work:.2f} s in steps per partition, {SIDE_BY_SIDE} side by side")
    for way, one in found.items():
        overhead = one.overhead(work)
        print(f"{way:32}{one.partitions:5} partitions  {one.wall / one.partitions:6.2f} s each, "
              f"{overhead:6.2f} s beyond the work, "
              f"ratio {plain / overhead:5.1f}")  # fmt: skip


def project(
    folder: Path,
    name: str,
    engine: dict[str, Any],
    partitions: int,
    samples: int = 1,
    temperatures: Sequence[str] = TEMPERATURES,
) -> dict[str, str]:
    """A pipeline whose questions are there; the environment that names it.

    Args:
        engine: of the teacher.
        samples: answers to each of the questions of a partition.
    """
    here = folder / name
    inbox = here / "inbox"
    inbox.mkdir(parents=True)
    lines = "".join(
        file.read_text(encoding="utf-8")
        for file in sorted((PROJECT_ROOT / "tiny_world" / "inbox").iterdir())
    ).splitlines(keepends=True)
    for shard in range(partitions // len(temperatures)):
        begin = shard * QUESTIONS_PER_SHARD
        drop = inbox / f"s{shard:03}.jsonl"
        drop.write_text("".join(lines[begin : begin + QUESTIONS_PER_SHARD]), encoding="utf-8")
    settings: dict[str, Any] = yaml.safe_load(
        (PROFILE_FOLDER / "tiny.yaml").read_text(encoding="utf-8")
    )
    settings["name"] = name
    settings["questions"]["inbox"] = str(inbox)
    settings["teacher"]["engine"] = engine
    settings["teacher_responses"] |= {
        "temperatures": {name: 0.5 + 0.1 * n for n, name in enumerate(temperatures)},
        "samples_per_question": dict.fromkeys(temperatures, samples),
    }
    settings["divergence_sampling"]["budget_samples"] = dict.fromkeys(temperatures, 10)
    profile = here / "profile.yaml"
    profile.write_text(yaml.safe_dump(settings), encoding="utf-8")
    environment = {"DASD_PROFILE": str(profile), "DASD_HOME": str(here / "home")}
    run(environment, "+key:teacher_responses and not key:teacher_responses")
    return environment


def run(environment: dict[str, str], select: str, workers: int = SIDE_BY_SIDE) -> None:
    """`dasd run` of a selection of assets."""
    subprocess.run(
        [sys.executable, "-m", "dasd_assets.cli", "run", "--select", select,
         "--workers", str(workers)],
        env=os.environ | environment, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def by_command(environment: dict[str, str]) -> Found:
    """`dasd run` of all partitions."""
    began = time.time()
    run(environment, "key:teacher_responses")
    return measured(environment, began)


def by_daemon(environment: dict[str, str], module: str = "dasd_assets.definitions") -> Found:
    """A backfill of all partitions, from when it is asked for."""
    home = Path(environment["DASD_HOME"]) / "dagster"
    daemon = Daemon(home, module, environment)
    began = time.time()
    daemon.start()
    try:
        make_by_backfill(home, environment)
    finally:
        daemon.kill(signal.SIGTERM)
    return measured(environment, began)


def by_daemon_anew(environment: dict[str, str]) -> Found:
    """The same with Dagster's own executor."""
    return by_daemon(environment, "benchmarks.backfill_spawned")


def make_by_backfill(home: Path, environment: dict[str, str]) -> None:
    """Ask for all partitions and wait until they are made."""
    os.environ.update(environment)
    from dasd_assets.definitions import definitions

    with dg.DagsterInstance.from_config(str(home)) as instance:
        view = graph_view(definitions().resolve_asset_graph(), instance)
        subsets = [view.get_full_subset(key=ASSET)]
        backfill_id = start_backfill(instance, subsets, "benchmark", "", {})
        until(lambda: ended(instance, backfill_id), 3600)


def ended(instance: dg.DagsterInstance, backfill_id: str) -> bool:
    """Whether the daemon is through with a backfill.

    Raises:
        RuntimeError: a partition of it failed.
    """
    backfill = instance.get_backfill(backfill_id)
    assert backfill is not None
    if backfill.status.value in ("FAILED", "COMPLETED_FAILED"):
        raise RuntimeError(f"the backfill ended as {backfill.status.value}: {backfill.error}")
    return backfill.status.value == "COMPLETED_SUCCESS"


def measured(environment: dict[str, str], began: float) -> Found:
    """From the instance: the runs since then, until the last one's end."""
    with dg.DagsterInstance.from_config(environment["DASD_HOME"] + "/dagster") as instance:
        records = [
            record
            for record in instance.get_run_records()
            if record.create_timestamp.timestamp() > began
        ]
        steps = [
            step.end_time - step.start_time
            for record in records
            for step in instance.get_run_step_stats(record.dagster_run.run_id)
            if step.start_time and step.end_time
        ]
        last = max(record.end_time or 0.0 for record in records)
    return Found(len(records), last - began, sum(steps))


if __name__ == "__main__":
    main()
