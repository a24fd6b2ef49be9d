"""What submitit runs on each machine of a Slurm job."""

from __future__ import annotations

from typing import Any

from submitit.helpers import Checkpointable, TorchDistributedEnvironment

from training.gang_runs import train_rank
from training.progress import reporting
from training.sft import SftConfig


class SlurmRank(Checkpointable):
    """One process of a gang. Queued again when its time is up, it goes on from a restart point."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """A rank, by the fields of `SftConfig`: they are what submitit stores of it."""
        self._settings = settings

    def __call__(self) -> None:
        """Train, among the tasks of the job that this process is of."""
        # A rank takes the GPU of its own number among all that Slurm gave its machine.
        TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        with reporting() as report:
            train_rank(SftConfig.model_validate(self._settings), report)
