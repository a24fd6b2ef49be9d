"""What TensorBoard has of a training."""

from __future__ import annotations

from pathlib import Path

from formats.checkpoint_folder import TENSORBOARD


def event_files(folder: Path) -> list[Path]:
    """The event files of a checkpoint, the oldest first."""
    return sorted((folder / TENSORBOARD).glob("events.out.tfevents.*"))


def told_losses(folder: Path) -> list[tuple[int, float]]:
    """Step and loss of every record, as they lie in the files."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    return [
        (event.step, float(value.tensor.float_val[0]))
        for file in event_files(folder)
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
        if value.tag == "train/loss"
    ]
