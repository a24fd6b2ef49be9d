"""Restart points while the Trainer runs: when they are due, and when they are complete."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from formats.checkpoint_folder import LOG, partial_folder
from training.checkpoint import publish_restart_point, writing_folder
from training.errors import TrainingError
from training.settings import Restart
from training.trackers import keep_events


class RestartPoints(TrainerCallback):
    """Has the Trainer save its whole state (weights, optimiser, schedule, random numbers, data
    position) into a folder beside, and gives that folder its name when all ranks have written.
    """

    def __init__(self, settings: Restart, output_dir: Path) -> None:
        self._settings = settings
        self._output_dir = output_dir
        self._last = time.monotonic()
        self._saving: int | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._last = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step < state.max_steps and self._is_due(state.global_step):
            self._saving = state.global_step
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        if args.process_index == 0:
            written = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            shutil.copyfile(partial_folder(self._output_dir) / LOG, written / LOG)
            keep_events(self._output_dir, written)
            publish_restart_point(written, self._output_dir, state.global_step, self._settings.keep)
        self._saving = None
        self._last = time.monotonic()

    def explain(self, error: Exception) -> None:
        """Name the cause where training stopped because a restart point could not be written.

        Raises:
            TrainingError: it did.
        """
        if self._saving is None or isinstance(error, TrainingError):  # a lost loss has its own
            return
        shutil.rmtree(writing_folder(self._output_dir), ignore_errors=True)
        raise cannot_write(
            f"the restart point of step {self._saving}", self._output_dir, error
        ) from error

    def _is_due(self, step: int) -> bool:
        by_steps, by_minutes = self._settings.every_steps, self._settings.every_minutes
        if by_steps and step % by_steps == 0:
            return True
        if not by_minutes:
            return False
        due = [time.monotonic() - self._last >= 60 * by_minutes]
        if torch.distributed.is_initialized():
            torch.distributed.broadcast_object_list(due)  # the ranks' clocks differ
        return due[0]


def cannot_write(what: str, output_dir: Path, error: Exception) -> TrainingError:
    """The error for files that could not be written, with the room that is left on the disk."""
    free = shutil.disk_usage(output_dir.parent).free
    return TrainingError(
        f"{what} could not be written below {output_dir.parent} ({free / 1024**2:,.0f} MiB free): "
        f"{error}. Earlier restart points are kept: make room and run the same again."
    )
