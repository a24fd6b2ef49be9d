"""What Ray's and Slurm's gangs share: a lost rank ends all, and all go on from a restart point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from formats.checkpoint_folder import ERROR, partial_folder
from training.checkpoint import note_error
from training.errors import TrainingError
from training.progress import Report
from training.sft import SftConfig, train

NOT_MENDED = (TrainingError, ValueError, torch.OutOfMemoryError)
"""What fails again however often it is tried; the rest may come of another rank that is gone."""


class LostRanksError(RuntimeError):
    """Processes of a gang, or their machines, are gone; the message says which."""


def train_rank(config: SftConfig, report: Report) -> None:
    """One process of a gang, in the environment of torch's process groups (RANK, MASTER_ADDR …).

    A cause that another try cannot mend is left for whoever started the gang.
    """
    try:
        train(config, report)
    except NOT_MENDED as error:
        note_error(Path(config.output_dir), error)
        raise


def with_restarts(
    attempt: Callable[[int], None], output_dir: Path, restarts: int, report: Report
) -> None:
    """Start a gang until it has trained; each try goes on from the newest restart point.

    Args:
        attempt: one try, given how many were lost before it; raises LostRanksError.

    Raises:
        TrainingError: a rank has said why it cannot go on, or too many tries were lost.
    """
    cause = partial_folder(output_dir) / ERROR
    cause.unlink(missing_ok=True)
    lost = 0
    while True:
        try:
            attempt(lost)
            return
        except LostRanksError as error:
            if cause.is_file():
                raise TrainingError(cause.read_text(encoding="utf-8")) from error
            if lost == restarts:
                raise TrainingError(
                    f"{error}. All were restarted {restarts} time(s) before "
                    "(compute.training.restarts). Run the same again: it goes on from the newest "
                    "restart point"
                ) from error
            lost += 1
            report(f"progress: {error}. Restarting all ({lost} of {restarts})")
