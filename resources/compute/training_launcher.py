"""The training launcher: a training program as processes of its own, followed through Pipes.

On this machine it is torchrun's; a gang over several machines is a job of a Ray cluster, or of
Slurm, which starts all of its processes or none.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from formats.checkpoint_folder import (
    CERTIFICATE,
    ERROR,
    LOG,
    messages_file,
    partial_folder,
    settings_file,
    wait_for_writer,
)
from resources.compute.gang import AUTOSCALING
from resources.compute.gpu_lease import lease_gpus

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

OUTPUT_DIR = "dasd/output_dir"
"""In the metadata of a Ray job: what it trains into."""
SECONDS_BETWEEN_LOOKS = 5.0


class TrainingFailedError(RuntimeError):
    """A training program ended without a checkpoint; the message is the program's own."""


@dataclass(frozen=True)
class TrainingResult:
    """What a finished stage reports about itself."""

    log: list[dict[str, Any]]
    certificate: dict[str, Any]

    @property
    def metadata(self) -> dict[str, Any]:
        """The result as asset metadata."""
        last = self.log[-1]
        return {
            "steps": last["step"],
            "first_loss": self.log[0]["loss"],
            "final_loss": last["loss"],
            "tokens_per_second": last["tokens_per_second"],
            "peak_memory_gib": last["memory_gib"],
            "training_seconds": last["seconds"],
            "samples": self.certificate["samples_in"],
            "trained_tokens": self.certificate["trained_tokens"],
            "packing_efficiency": self.certificate["packing_efficiency"],
        }


class TrainingLauncher(dg.ConfigurableResource):
    """Starts `training.sft` and forwards its progress into the run's log."""

    threads: int = Field(1, description="CPU threads of a machine's training processes together")
    gpus: int = Field(
        0, description="declared for training; with fewer on the machine nothing is trained"
    )
    gang: dict[str, Any] = Field(
        default_factory=dict,
        description="of several machines: fields of `resources.compute.gang.Gang` but the "
        "processes; empty: this machine alone",
    )
    slurm: dict[str, Any] = Field(
        default_factory=dict,
        description="fields of `resources.compute.declared.Slurm`; empty: a gang goes to Ray",
    )
    local_folder: str | None = Field(
        None, description="of each machine, for its copy of the training set; None: it has none"
    )
    profile: str = Field("", description="name of the profile, for the trackers of a run")

    def run(
        self, context: dg.AssetExecutionContext, config: dict[str, Any], output_dir: Path
    ) -> TrainingResult:
        """Run one stage in processes of its own until it ends.

        Args:
            config: fields of `training.sft.SftConfig` but the folders and the GPUs.
            output_dir: checkpoint folder; one that is complete already is not trained again, one
                that a killed run left is gone on with.

        Raises:
            TooFewGpusError: this machine has fewer GPUs than are declared.
            TrainingFailedError: the program ended without a checkpoint.
        """
        if not self.gang:  # else each of its processes holds its own
            lease_gpus(self.gpus, "training", context.log.info)
        cause = partial_folder(output_dir) / ERROR
        cause.unlink(missing_ok=True)
        settings = {
            **config, "gpus": self.gpus, "local_folder": self.local_folder,
            "output_dir": str(output_dir),
        }  # fmt: skip
        file = settings_file(output_dir)  # beside the checkpoint, where all machines see it
        file.write_text(json.dumps(settings), encoding="utf-8")
        try:
            self._start(context, settings, file, output_dir)
        except Exception as error:
            if cause.is_file():
                raise TrainingFailedError(cause.read_text(encoding="utf-8")) from error
            raise
        finally:
            file.unlink(missing_ok=True)
        lines = (output_dir / LOG).read_text(encoding="utf-8").splitlines()
        certificate = json.loads((output_dir / CERTIFICATE).read_text(encoding="utf-8"))
        return TrainingResult([json.loads(line) for line in lines], certificate)

    def _start(
        self,
        context: dg.AssetExecutionContext,
        settings: dict[str, Any],
        file: Path,
        output_dir: Path,
    ) -> None:
        """Start the program where it belongs, and return when it has ended well."""
        processes = int(settings["processes"])
        gang = json.dumps(
            {
                **self.gang, "processes": processes, "gpus": self.gpus,
                "autoscaling": bool(os.environ.get(AUTOSCALING)),
            }
        )  # fmt: skip
        environment = {
            "OMP_NUM_THREADS": str(
                max(1, self.threads * self.gang.get("machines", 1) // processes)
            ),
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            # torch's notes on its own collectives, one for each call of DeepSpeed's
            "PYTHONWARNINGS": "ignore::FutureWarning",
        }
        of_config = ["--config", str(file)]
        if self.gang and not self.slurm:
            command = [sys.executable, "-m", "training.on_ray", *of_config, "--gang", gang]
            run_on_ray(context, command, environment, output_dir)
            return
        reader = None
        if self.slurm:
            command = [
                sys.executable, "-m", "training.on_slurm", *of_config,
                "--gang", gang, "--slurm", json.dumps(self.slurm),
            ]  # fmt: skip
            # The first rank writes there, on whichever machine it is.
            reader = dg.PipesFileMessageReader(str(messages_file(output_dir)))
        else:
            wait_for_writer(output_dir, context.log.info)
            command = launcher(processes, int(settings["deepspeed_zero_stage"]), self.gpus)
            command += of_config
        dg.PipesSubprocessClient(message_reader=reader).run(
            context=context, command=command, env=environment
        )


def launcher(processes: int, deepspeed_zero_stage: int, gpus: int) -> list[str]:
    """The command that starts the training program on this machine, without its arguments.

    Where there are GPUs, one process is started by torchrun too: it then takes one GPU, where it
    would else share each batch out over all that it sees.
    """
    if processes == 1 and not deepspeed_zero_stage and not gpus:
        return [sys.executable, "-m", "training.sft"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*torchrun, "--nproc_per_node", str(processes), "-m", "training.sft"]


def run_on_ray(
    context: dg.AssetExecutionContext,
    command: list[str],
    environment: dict[str, str],
    output_dir: Path,
) -> None:
    """Run a program as a job of the Ray cluster at RAY_API_SERVER_ADDRESS until it ends.

    Raises:
        TrainingFailedError: there is no cluster.
        RuntimeError: the job failed.
    """
    from dagster_ray.core.pipes import PipesRayJobClient

    pipes = PipesRayJobClient()
    try:
        client = pipes.client
    except ConnectionError as error:
        raise TrainingFailedError(
            f"no Ray cluster was reached, over whose machines training goes: {error}. Set "
            "RAY_API_SERVER_ADDRESS, such as http://head:8265 (`dasd docs training`)"
        ) from error
    wait_for_job(client, output_dir, context.log.info)
    pipes.run(
        context=context,
        submit_job_params={
            "entrypoint": shlex.join(command),
            "runtime_env": {"env_vars": environment},
            "metadata": {OUTPUT_DIR: str(output_dir)},
        },
    )


def wait_for_job(
    client: JobSubmissionClient, output_dir: Path, waiting: Callable[[str], None]
) -> None:
    """Return when no job that outlived its run is at work on the same checkpoint."""
    for job in client.list_jobs():
        name = job.submission_id
        if name is None or (job.metadata or {}).get(OUTPUT_DIR) != str(output_dir):
            continue
        if not job.status.is_terminal():
            waiting(f"progress: waiting for Ray job {name} of a run that was killed")
        while not client.get_job_status(name).is_terminal():
            time.sleep(SECONDS_BETWEEN_LOOKS)
