"""The training launcher: a training program as a process of its own, followed through Pipes."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from formats.checkpoint_folder import (
    CERTIFICATE,
    ERROR,
    LOCK,
    LOG,
    partial_folder,
    restart_folder,
    settings_file,
)
from resources.compute.gpu_lease import lease_gpus


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
    hosts: dict[str, int] = Field(
        default_factory=dict,
        description="machines and their processes; the first is this one, the others are reached "
        "by ssh. Empty: this machine alone",
    )
    profile: str = Field("", description="name of the profile, for the trackers of a run")

    def run(
        self, context: dg.AssetExecutionContext, config: dict[str, Any], output_dir: Path
    ) -> TrainingResult:
        """Run one stage in its own process, or in several, until it ends.

        Args:
            config: fields of `training.sft.SftConfig` but the output folder and the GPUs.
            output_dir: checkpoint folder; one that is complete already is not trained again, one
                that a killed run left is gone on with.

        Raises:
            TooFewGpusError: this machine has fewer GPUs than are declared.
            TrainingFailedError: the program ended without a checkpoint.
        """
        if not self.hosts:  # else each machine's part holds its own (training/one_host.py)
            lease_gpus(self.gpus, "training", context.log.info)
        cause = partial_folder(output_dir) / ERROR
        cause.unlink(missing_ok=True)
        _wait_for_orphan(context, output_dir)
        processes = int(config["processes"])
        processes_here = next(iter(self.hosts.values()), processes)
        settings = {
            **config, "gpus": self.gpus, "hosts": self.hosts, "output_dir": str(output_dir),
        }  # fmt: skip
        file = settings_file(output_dir)  # beside the checkpoint, where all machines see it
        file.write_text(json.dumps(settings), encoding="utf-8")
        try:
            dg.PipesSubprocessClient().run(
                context=context,
                command=[
                    *self._program(processes, int(config["deepspeed_zero_stage"])),
                    *("--config", str(file)),
                ],
                env={
                    "OMP_NUM_THREADS": str(max(1, self.threads // processes_here)),
                    "TOKENIZERS_PARALLELISM": "false",
                    "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
                    # torch's notes on its own collectives, one for each call of DeepSpeed's
                    "PYTHONWARNINGS": "ignore::FutureWarning",
                },
            )
        except Exception as error:
            if cause.is_file():
                raise TrainingFailedError(cause.read_text(encoding="utf-8")) from error
            raise
        finally:
            file.unlink(missing_ok=True)
        lines = (output_dir / LOG).read_text(encoding="utf-8").splitlines()
        certificate = json.loads((output_dir / CERTIFICATE).read_text(encoding="utf-8"))
        return TrainingResult([json.loads(line) for line in lines], certificate)

    def _program(self, processes: int, deepspeed_zero_stage: int) -> list[str]:
        if self.hosts:
            return [sys.executable, "-m", "training.on_hosts"]
        return launcher(processes, deepspeed_zero_stage, self.gpus)


def _wait_for_orphan(context: dg.AssetExecutionContext, output_dir: Path) -> None:
    """Return when no training process that outlived its run is at work on the same checkpoint."""
    file = restart_folder(output_dir) / LOCK
    if not file.is_file():
        return
    with file.open(encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            context.log.info("progress: waiting for the training process of a run that was killed")
            fcntl.flock(lock, fcntl.LOCK_SH)


def launcher(processes: int, deepspeed_zero_stage: int, gpus: int) -> list[str]:
    """The command that starts the training program on this machine, without its arguments.

    Where there are GPUs, one process is started by torchrun too: it then takes one GPU, where it
    would else share each batch out over all that it sees.
    """
    if processes == 1 and not deepspeed_zero_stage and not gpus:
        return [sys.executable, "-m", "training.sft"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*torchrun, "--nproc_per_node", str(processes), "-m", "training.sft"]
