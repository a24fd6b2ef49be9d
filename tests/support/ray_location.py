"""A code location whose steps run on a Ray cluster and note when they did; one can be killed.

Folder RAY_LOCATION gets `held.jsonl` (which step ran from when to when), and of `interrupted` its
process id, journal and partition (support/sampling_children.py).
"""

import fcntl
import json
import os
import time
from pathlib import Path

import dagster as dg
from support import sampling_children

from dasd_assets.declaring.declare import declared
from dasd_assets.running.ray_executor import ray_executor
from resources.compute.declared import Compute

FOLDER = Path(os.environ.get("RAY_LOCATION", "."))
SECONDS = 4.0
"""Longer than a job takes to start, so that steps that may run side by side do."""
GPUS = {"one": 1, "another": 1, "four": 4, "eight": 8}
sampling_children.SECONDS_BETWEEN_ANSWERS = 0.01


def step(name: str, gpus: int) -> dg.AssetsDefinition:
    """Hold pretended GPUs for a while."""

    @dg.asset(name=name, **declared("g", Compute(gpus=gpus, cpus=0.1), "1", kinds={"x"}))
    def held() -> None:
        start = time.time()
        time.sleep(SECONDS)
        with (FOLDER / "held.jsonl").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps({"step": name, "start": start, "end": time.time()}) + "\n")

    return held


@dg.asset(**declared("g", Compute(cpus=0.1), "1", kinds={"x"}))
def interrupted() -> None:
    (FOLDER / "asked").mkdir(parents=True, exist_ok=True)
    (FOLDER / "durable").touch()
    (FOLDER / "pid").write_text(str(os.getpid()), encoding="ascii")
    sampling_children.make_partition(FOLDER)


steps = [step(name, gpus) for name, gpus in GPUS.items()]
everything = dg.define_asset_job("everything", "*")
defs = dg.Definitions(assets=[*steps, interrupted], jobs=[everything], executor=ray_executor)
