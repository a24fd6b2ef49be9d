"""What vLLM costs per partition beyond the work: loaded anew for each, and kept for all.

Teacher responses of the tiny profile with `kind: vllm` on CPU, `dasd run`, one partition after
the other. Twice, each in a data folder of its own: `keep_alive_seconds: 0`, so that each step
loads the model in its own process, and 600. The work of a partition is what the kept engine, which
is warm, takes for its answers: tokens over tokens/s of the materialization. Beyond it is all else
that the step takes: loading, or finding the engine, reading, writing, pictures.

    python -m benchmarks.kept_engine [--partitions 20] [--anew 20]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from benchmarks.backfill import ASSET, TEMPERATURES, project, run

SAMPLES = 8
"""Answers to each of the five questions of a partition."""


@dataclass(frozen=True)
class Partition:
    """One step: all its seconds, and those in which the model answered."""

    seconds: float
    answering: float


def main() -> None:
    """Make the partitions in both ways and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--partitions", type=int, default=20)
    parser.add_argument("--anew", type=int, default=20, help="partitions of the way with loading")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kept = made(Path(folder), "kept", 600.0, arguments.partitions)
        anew = made(Path(folder), "anew", 0.0, arguments.anew)
    first, *further = kept
    work = statistics.mean(one.answering for one in further)
    print(f"work: {work:.2f} s of answering a partition")
    before = statistics.mean(one.seconds for one in anew) - work
    after = statistics.mean(one.seconds for one in kept) - work
    found = statistics.mean(one.seconds for one in further) - work
    print(f"loaded anew: {len(anew)} partitions, {before:.2f} s each beyond the work")
    print(f"kept:        {len(kept)} partitions, {after:.2f} s each beyond the work: the first, "
          f"which starts it, {first.seconds - work:.2f} s, the others {found:.2f} s")  # fmt: skip
    print(f"ratio: {before / after:.1f}; without the first {before / found:.1f}")


def made(folder: Path, name: str, keep_alive_seconds: float, partitions: int) -> list[Partition]:
    """All partitions of a new data folder, in the order in which they were made."""
    engine = {
        "kind": "vllm", "dtype": "float32", "max_num_seqs": 64,
        "keep_alive_seconds": keep_alive_seconds,
    }  # fmt: skip
    environment = project(folder, name, engine, partitions, SAMPLES, TEMPERATURES[:2])
    began = time.time()
    run(environment, f"key:{ASSET.to_user_string()}", workers=1)
    with dg.DagsterInstance.from_config(environment["DASD_HOME"] + "/dagster") as instance:
        records = instance.get_run_records(ascending=True)
        found = [
            partition(instance, record.dagster_run)
            for record in records
            if record.create_timestamp.timestamp() > began
        ]
    for one in found:
        print(f"{name}: {one.seconds:.2f} s, {one.answering:.2f} s of answering", flush=True)
    return found


def partition(instance: dg.DagsterInstance, of: dg.DagsterRun) -> Partition:
    """What the step of a run took."""
    [step] = [
        step
        for step in instance.get_run_step_stats(of.run_id)
        if step.step_key == ASSET.to_user_string()
    ]
    assert step.start_time and step.end_time
    logged = instance.all_logs(of.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    [event] = [one.asset_materialization for one in logged if one.asset_materialization]
    metadata = event.metadata
    answering = float(metadata["n_tokens"].value) / float(metadata["tokens_per_second"].value)  # type: ignore[arg-type]
    return Partition(step.end_time - step.start_time, answering)


if __name__ == "__main__":
    main()
