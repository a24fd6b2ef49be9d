"""A code location of the graph's shape whose steps hold pretended GPUs and do nothing else.

Folder GPU_LOCATION has `held.jsonl` (who held which GPUs from when to when), and may have
`fail` (partition keys that fail, one a line) and `seconds` (how long a step takes). With
GPU_LOCATION_IN_PROCESS set, the steps of a run share its process.
"""

import fcntl
import json
import os
import time
from pathlib import Path

import dagster as dg

from dasd_assets.declaring.declare import declared
from dasd_assets.partitions import QUESTION_SHARD, TEMPERATURE, question_shards
from dasd_assets.running.local_executor import local_executor
from resources.compute.declared import Compute
from resources.compute.gpu_lease import lease_gpus

FOLDER = Path(os.environ.get("GPU_LOCATION", "."))
TEACHER = Compute(gpus=2, pool="teacher")
STUDENT = Compute(gpus=1, pool="student")

temperatures = dg.StaticPartitionsDefinition(["low", "high"])
grid = dg.MultiPartitionsDefinition({TEMPERATURE: temperatures, QUESTION_SHARD: question_shards})
same_shard = dg.MultiToSingleDimensionPartitionMapping(QUESTION_SHARD)
same_temperature = dg.MultiToSingleDimensionPartitionMapping(TEMPERATURE)


def work(context: dg.AssetExecutionContext, gpus: int) -> None:
    """Hold GPUs for a moment, and note it."""
    failing, seconds = FOLDER / "fail", FOLDER / "seconds"
    devices = lease_gpus(gpus, context.asset_key.to_user_string(), context.log.info)
    start = time.monotonic()
    time.sleep(float(seconds.read_text()) if seconds.exists() else 0.1)
    line = {
        "asset": context.asset_key.to_user_string(), "partition": context.partition_key,
        "gpus": gpus, "devices": devices, "start": start, "end": time.monotonic(),
        "run": context.run_id,
    }  # fmt: skip
    with (FOLDER / "held.jsonl").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(line) + "\n")
    if failing.exists() and context.partition_key in failing.read_text().split():
        raise RuntimeError("told to fail")


@dg.asset(partitions_def=question_shards, **declared("g", Compute(), "1", kinds={"x"}))
def questions(context: dg.AssetExecutionContext) -> None:
    work(context, 0)


@dg.asset(
    partitions_def=grid,
    deps=[dg.AssetDep(questions, partition_mapping=same_shard)],
    **declared("g", TEACHER, "1", kinds={"x"}),
)
def sampled(context: dg.AssetExecutionContext) -> None:
    work(context, TEACHER.gpus)


@dg.asset(partitions_def=grid, deps=[sampled], **declared("g", STUDENT, "1", kinds={"x"}))
def scored(context: dg.AssetExecutionContext) -> None:
    work(context, STUDENT.gpus)


@dg.asset(
    partitions_def=temperatures,
    deps=[dg.AssetDep(scored, partition_mapping=same_temperature)],
    **declared("g", Compute(), "1", kinds={"x"}),
)
def sample(context: dg.AssetExecutionContext) -> None:
    work(context, 0)


defs = dg.Definitions(
    assets=[questions, sampled, scored, sample],
    executor=dg.in_process_executor
    if os.environ.get("GPU_LOCATION_IN_PROCESS")
    else local_executor,
)
