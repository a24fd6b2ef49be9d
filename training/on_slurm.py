"""Training over the machines of a Slurm cluster: submitit submits the gang as one job.

By hand, where `sbatch` is: `python -m training.on_slurm --config sft.json --gang '{"processes": 16,
"machines": 2, "gpus": 16, "cpus": 64, "memory_gib": 512}' --slurm '{"partition": "gpu"}'` (the
fields of `Gang` and `Slurm`). All nodes see project, environment, models and `output_dir` under the
same paths.

Slurm starts all tasks or none, queues the job again when a node is lost, and submitit when its time
is up; another end of a rank ends all (`--kill-on-bad-exit`), and the job is submitted again here.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

from submitit import AutoExecutor, Executor, Job
from submitit.core.utils import FailedSubmissionError

from resources.compute.declared import Slurm
from resources.compute.gang import Gang
from training.checkpoint import note_error
from training.errors import TrainingError
from training.gang_runs import LostRanksError, with_restarts
from training.sft import SftConfig
from training.slurm_rank import SlurmRank

SECONDS_BETWEEN_LOOKS = 30.0
"""Each asks `sacct`."""
MAX_TIME_LIMITS = 1000
"""How often a job that its time limit ends is queued again."""


def slurm_executor(folder: Path, name: str, gang: Gang, slurm: Slurm) -> Executor:
    """What submits a gang.

    Args:
        folder: for scripts and logs; every machine sees it.
        name: of the job. Slurm runs one job of a name at a time (`singleton`), so that one that
            outlived its run is waited for.

    Raises:
        TrainingError: this machine has no Slurm.
    """
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise TrainingError(
            "compute.training.slurm is set, and `sbatch` and `srun` are not on this machine's PATH:"
            " run the checkpoint's asset on a login node, or leave the setting out"
        )
    executor = AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=MAX_TIME_LIMITS)
    executor.update_parameters(
        name=name,
        timeout_min=slurm.minutes,
        nodes=gang.machines,
        tasks_per_node=gang.processes_here,
        cpus_per_task=max(1, int(gang.cpus / gang.processes_here)),
        mem_gb=gang.memory_gib,
        **({"gpus_per_node": gang.processes_here} if gang.gpus else {}),
        slurm_partition=slurm.partition,
        slurm_account=slurm.account,
        slurm_dependency="singleton",
        slurm_setup=slurm.setup or None,
        slurm_stderr_to_stdout=True,
        slurm_srun_args=["--kill-on-bad-exit=1"],
        slurm_additional_parameters={"requeue": True, **slurm.options},
    )
    return executor


def train_by(executor: Executor, config: SftConfig, restarts: int) -> None:
    """Submit a gang until it has trained; what its first rank prints is printed here.

    Raises:
        TrainingError: Slurm refuses the job, a rank says why it cannot go on, or too many tries
            were lost.
    """

    def attempt(lost: int) -> None:
        try:
            job = executor.submit(SlurmRank(config.model_dump(mode="json")))
        except FailedSubmissionError as error:
            raise TrainingError(f"sbatch refuses the job: {error}") from error
        print(f"Job {job.job_id}, whose logs are in {job.paths.folder}", flush=True)
        try:
            _follow(job)
            problem = job.exception()
        except BaseException:
            job.cancel(check=False)
            raise
        if problem is not None and job.state.startswith("CANCELLED"):
            raise TrainingError(f"job {job.job_id} was cancelled")
        if problem is not None:
            job.cancel(check=False)  # after a node's failure Slurm has queued it again by itself
            raise LostRanksError(f"job {job.job_id} ended as {job.state}: {problem}")

    with_restarts(attempt, Path(config.output_dir), restarts, lambda line: print(line, flush=True))


def _follow(job: Job[None]) -> None:
    """Print what the first rank writes, until the job is done."""
    shown, is_done = 0, False
    while not is_done:
        is_done = job.done(force_check=True)
        if job.paths.stdout.is_file():
            with job.paths.stdout.open(encoding="utf-8", errors="replace") as log:
                log.seek(shown)
                print(log.read(), end="", flush=True)
                shown = log.tell()
        if not is_done:
            time.sleep(SECONDS_BETWEEN_LOOKS)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, type=Path, help="JSON with SftConfig's fields")
    parser.add_argument("--gang", required=True, help="JSON with Gang's fields")
    parser.add_argument("--slurm", default="{}", help="JSON with Slurm's fields")
    arguments = parser.parse_args()
    config = SftConfig.model_validate_json(arguments.config.read_text(encoding="utf-8"))
    gang = Gang.model_validate_json(arguments.gang)
    slurm = Slurm.model_validate(json.loads(arguments.slurm))
    output_dir = Path(config.output_dir)
    folder = output_dir.with_name(f"{output_dir.name}.slurm")
    name = f"dasd-{output_dir.parent.name}-{output_dir.name}"
    try:
        train_by(slurm_executor(folder, name, gang, slurm), config, gang.restarts)
        shutil.rmtree(folder, ignore_errors=True)
    except Exception as error:
        note_error(output_dir, error)
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
