"""A code location of one asset in the pool `p`, of whose partitions some are killed.

Folder KILLING_LOCATION has a file for each partition that was made. `run` kills the process of its
run while `beside` is under way, which ends only when that run is marked as failed; `step` kills
itself. With KILLING_LOCATION_VICTIM=server `run` kills what its run was forked from.
"""

import os
import signal
import time
from pathlib import Path

import dagster as dg
import psutil

from dasd_assets.running.local_executor import local_executor

PARTITIONS = ["run", "beside", "step", "later"]


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(PARTITIONS), pool="p")
def made(context: dg.AssetExecutionContext) -> None:
    folder = Path(os.environ["KILLING_LOCATION"])
    if context.partition_key == "beside":
        (folder / "beside-begun").touch()
        while not context.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])):
            time.sleep(0.1)
    if context.partition_key == "run":
        while not (folder / "beside-begun").exists():
            time.sleep(0.1)
        run = psutil.Process(os.getppid())
        kills_server = os.environ.get("KILLING_LOCATION_VICTIM") == "server"
        os.kill(run.ppid() if kills_server else run.pid, signal.SIGKILL)
        time.sleep(600)
    if context.partition_key == "step":
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / context.partition_key).touch()


defs = dg.Definitions(assets=[made], executor=local_executor)
