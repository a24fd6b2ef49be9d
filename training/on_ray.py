"""Training over the machines of a Ray cluster: Ray Train starts the gang, whole or not at all.

By hand, on a node of the cluster: `python -m training.on_ray --config sft.json --gang
'{"processes": 16, "machines": 2, "gpus": 16, "cpus": 64, "memory_gib": 512}'` (the fields of
`Gang`). All nodes see project, environment, models and `output_dir` under the same paths.

Ray Train places the processes, makes their process group, and notices when one of them, or a whole
node, is gone. What is added: a gang that the nodes cannot hold is refused, where Ray would wait for
ever, and a restart only after what another try can mend.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import ray
from ray.train import ControllerError, FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.collective import barrier
from ray.train.torch import TorchTrainer
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from formats.checkpoint_folder import wait_for_writer
from resources.compute.gang import AUTOSCALING, Gang, missing
from resources.compute.gpu_lease import hold_gpus
from training.checkpoint import note_error
from training.errors import TrainingError
from training.gang_runs import LostRanksError, train_rank, with_restarts
from training.progress import Report, reporting
from training.sft import SftConfig

SECONDS_BETWEEN_LOOKS = 2.0
NOT_PLACED = "WorkerGroupStartupTimeoutError"
"""What Ray Train ends with when the nodes, which could hold the gang, are in use for a minute, or
when one is gone and nobody has noticed yet."""
NOT_STARTED = "WorkerGroupStartupFailedError"
"""When a node is lost while the gang starts."""


def train_on_ray(config: SftConfig, gang: Gang, report: Report) -> None:
    """Run one stage over a cluster until it is done; this process has joined the cluster.

    Raises:
        TrainingError: the cluster cannot hold the gang, a rank says why it cannot go on, or more
            tries were lost than there are restarts.
    """
    output_dir = Path(config.output_dir)

    def attempt(lost: int) -> None:
        placed = False
        while not placed:
            _wait_for_nodes(gang, report, gang.wait_minutes if lost else 0.0)
            wait_for_writer(output_dir, report)
            placed = _started_and_done(config, gang, report)
            if not placed:
                report(f"progress: waiting for {gang.processes} free place(s) of the Ray cluster")

    with_restarts(attempt, output_dir, gang.restarts, report)


def _started_and_done(config: SftConfig, gang: Gang, report: Report) -> bool:
    """Train until it is done; False if the gang found no place."""
    storage = Path(config.output_dir).with_name(f"{Path(config.output_dir).name}.ray")
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    lines: Any = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    forwarding = threading.Thread(target=_forward, args=(lines, report), daemon=True)
    forwarding.start()
    trainer = TorchTrainer(
        _rank,
        train_loop_config={"config": config.model_dump(mode="json"), "lines": lines},
        scaling_config=ScalingConfig(
            num_workers=gang.processes,
            use_gpu=bool(gang.gpus),
            resources_per_worker={name: n for name, n in gang.each.items() if n},
        ),
        run_config=RunConfig(
            name="run",
            storage_path=str(storage),
            # Its own restarts would try again what fails for a reason of ours.
            failure_config=FailureConfig(  # of its second version; what types say is the first
                max_failures=0,
                controller_failure_limit=0,  # type: ignore[call-arg]
            ),
        ),
    )
    try:
        trainer.fit()
        return True
    except WorkerGroupError as error:
        raise LostRanksError(_told(error.worker_failures)) from error
    except ControllerError as error:
        name = type(error.controller_failure).__name__
        if name == NOT_PLACED:
            return False
        if name == NOT_STARTED:
            raise LostRanksError(f"the gang did not start: {error.controller_failure}") from error
        raise TrainingError(f"Ray Train: {error.controller_failure}") from error
    finally:
        lines.put(None)
        forwarding.join()
        lines.shutdown()
        shutil.rmtree(storage, ignore_errors=True)


def _rank(settings: dict[str, Any]) -> None:
    """One process of the gang; Ray Train has made the process group."""
    lines = settings["lines"]
    host = socket.gethostname()
    hold_gpus([str(gpu) for gpu in ray.get_gpu_ids()], lambda line: lines.put(f"{line} ({host})"))
    barrier()  # they may have been hours in coming, for which no collective of torch's waits
    is_main = os.environ["RANK"] == "0"
    report = lines.put if is_main else lambda line: None
    train_rank(SftConfig.model_validate(settings["config"]), report)


def _forward(lines: Any, report: Report) -> None:
    while (line := lines.get()) is not None:
        report(line)


def _wait_for_nodes(gang: Gang, report: Report, minutes: float) -> None:
    """Return when the cluster's nodes, were they empty, could hold the gang.

    Raises:
        TrainingError: after so many minutes they cannot, and the cluster adds none by itself.
    """
    until = time.monotonic() + 60 * minutes
    told = ""
    while problem := missing(gang, alive_nodes(ray.nodes())):
        if not gang.autoscaling and time.monotonic() >= until:
            waited = f" {minutes:g} minute(s) were waited for it." if minutes else ""
            raise TrainingError(
                f"{problem}. Nothing was started.{waited} Lower compute.training, or add nodes; "
                f"{AUTOSCALING}=1 waits for them where the cluster adds them by itself"
            )
        if problem != told:
            report(f"progress: waiting for nodes: {problem}")
            told = problem
        time.sleep(SECONDS_BETWEEN_LOOKS)


def alive_nodes(nodes: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """What each living node has, of what `ray.nodes()` says; a host may have several."""
    return {
        f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})": node["Resources"]
        for node in nodes
        if node["Alive"]
    }


def _told(failures: dict[int, Exception]) -> str:
    """Which ranks failed and how: of each its error's last line, as Ray's is a whole traceback."""
    lines = {rank: str(error).strip().rpartition("\n")[2] for rank, error in failures.items()}
    return "; ".join(f"rank {rank} is lost: {line}" for rank, line in sorted(lines.items()))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, type=Path, help="JSON with SftConfig's fields")
    parser.add_argument("--gang", required=True, help="JSON with Gang's fields")
    arguments = parser.parse_args()
    config = SftConfig.model_validate_json(arguments.config.read_text(encoding="utf-8"))
    gang = Gang.model_validate_json(arguments.gang)
    for stream in (sys.stdout, sys.stderr):
        # A line is one write: what Ray prints of the ranks tears no message of Pipes apart, which
        # goes into the same log of the job.
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(write_through=False, line_buffering=True)
    with reporting() as report, contextlib.redirect_stdout(sys.stderr):
        try:
            ray.init(address="auto")
            train_on_ray(config, gang, report)
        except Exception as error:
            note_error(Path(config.output_dir), error)
            raise


if __name__ == "__main__":
    main()
