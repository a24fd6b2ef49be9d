"""Checkpoint folders that are there whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

from resources.durable import sync

CERTIFICATE = "certificate.json"
LOG = "training_log.jsonl"
ERROR = "error.txt"


def partial_folder(output_dir: Path) -> Path:
    """Where a checkpoint is written until it is complete."""
    return output_dir.with_name(output_dir.name + ".partial")


def is_complete(output_dir: Path) -> bool:
    """Whether a checkpoint has been finished; a folder appears under its name only then."""
    return (output_dir / "config.json").is_file()


def start_partial(output_dir: Path) -> Path:
    """An empty folder for a new checkpoint; what a killed run left there is removed."""
    folder = partial_folder(output_dir)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def finish(output_dir: Path) -> None:
    """Make a written checkpoint durable, then visible under its own name."""
    folder = partial_folder(output_dir)
    for file in folder.rglob("*"):
        if file.is_file():
            sync(file)
    sync(folder)
    folder.rename(output_dir)
    sync(output_dir.parent)
