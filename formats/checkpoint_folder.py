"""Names in and beside a checkpoint folder, for who writes it and who looks into it."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

CERTIFICATE = "certificate.json"
LOG = "training_log.jsonl"
STEPS = "steps.parquet"
"""Which packed sequence was seen in which step."""
TENSORBOARD = "tensorboard"
"""Folder of TensorBoard's event files."""
ADAPTER = "adapter"
"""Folder of the adapter of a training with LoRA; the checkpoint itself has it merged."""
ERROR = "error.txt"
LOCK = "lock"
"""In the folder of restart points: held by the one process that may write there."""


def partial_folder(output_dir: Path) -> Path:
    """Where a checkpoint is written until it is complete."""
    return output_dir.with_name(output_dir.name + ".partial")


def restart_folder(output_dir: Path) -> Path:
    """Where the restart points of a run are."""
    return output_dir.with_name(output_dir.name + ".restart")


def settings_file(output_dir: Path) -> Path:
    """What the launcher started the program with. A killed one leaves it; the next takes it away.

    Not in one of the folders: these come and go while later ranks are still to read it.
    """
    return output_dir.with_name(output_dir.name + ".sft.json")


def messages_file(output_dir: Path) -> Path:
    """Where a rank that may be on another machine writes its messages for Dagster."""
    return output_dir.with_name(output_dir.name + ".messages")


def wait_for_writer(output_dir: Path, waiting: Callable[[str], None]) -> None:
    """Return when no training process that outlived its run is at work on the same checkpoint."""
    file = restart_folder(output_dir) / LOCK
    if not file.is_file():
        return
    with file.open(encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting("progress: waiting for the training process of a run that was killed")
            fcntl.flock(lock, fcntl.LOCK_SH)
