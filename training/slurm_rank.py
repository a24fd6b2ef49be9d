"""What submitit runs on each machine of a Slurm job."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from submitit.helpers import Checkpointable, TorchDistributedEnvironment

from formats.checkpoint_folder import wait_for_writer
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
        config = SftConfig.model_validate(self._settings)
        with reporting() as report:
            if os.environ["RANK"] == "0":  # the lock of a node that is gone is freed a while later
                wait_for_writer(Path(config.output_dir), report)
            train_rank(config, report)
