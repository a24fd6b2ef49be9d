"""Checkpoint folders, and the restart points of a run: there whole or not at all.

    <output_dir>                      the finished checkpoint
    <output_dir>.partial              its files while they are written, and the log so far
    <output_dir>.restart/step-…       restart points: what a killed run goes on from
    <output_dir>.restart/writing      a restart point that is being written
    <output_dir>.sft.json             what the launcher started the program with, while it runs

Every rank of every machine has to see the same folders.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from formats.checkpoint_folder import ERROR, LOCK, partial_folder, restart_folder
from resources.durable import sync
from resources.file_locks import try_lock
from training.errors import TrainingError

RUN = "run.json"
"""What shapes the weights: settings, hashes of the rows and of the starting model."""

MANIFEST = "manifest.json"
"""In a restart point, written last: the size of each of its files."""


def writing_folder(output_dir: Path) -> Path:
    """Where a restart point is written until it is complete."""
    return restart_folder(output_dir) / "writing"


def is_complete(output_dir: Path) -> bool:
    """Whether a checkpoint has been finished; a folder appears under its name only then."""
    return (output_dir / "config.json").is_file()


def start_partial(output_dir: Path, run: Mapping[str, Any]) -> Path:
    """An empty folder for a new checkpoint; half-written files of a killed run are removed.

    Args:
        run: what shapes the weights; restart points of another run are not gone on from.

    Raises:
        TrainingError: the restart points there belong to another run.
    """
    if newest_restart_point(output_dir):
        check_same_run(restart_folder(output_dir), run)
    shutil.rmtree(writing_folder(output_dir), ignore_errors=True)
    folder = partial_folder(output_dir)
    shutil.rmtree(folder, ignore_errors=True)
    for place in (folder, restart_folder(output_dir)):
        place.mkdir(parents=True, exist_ok=True)
        (place / RUN).write_text(json.dumps(run, indent=1), encoding="utf-8")
    return folder


def check_same_run(folder: Path, run: Mapping[str, Any]) -> None:
    """Refuse a folder that was made with other settings, rows or another starting model.

    Raises:
        TrainingError: it was; the message names what differs.
    """
    try:
        other = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return
    differing = [name for name in {**other, **run} if other.get(name) != run.get(name)]
    if differing:
        raise TrainingError(
            f"{folder} belongs to a run with another value of {', '.join(differing)}. "
            "Choose another output_dir, or remove that folder."
        )


@contextlib.contextmanager
def only_writer(output_dir: Path) -> Iterator[None]:
    """Keep a second run out of these folders; a training process can outlive its launcher.

    Raises:
        TrainingError: another process is at it.
    """
    restart_folder(output_dir).mkdir(parents=True, exist_ok=True)
    with (restart_folder(output_dir) / LOCK).open("a", encoding="ascii") as lock:
        if not try_lock(lock):
            raise TrainingError(
                f"another process is training into {output_dir}. Wait for it, or end it; then run "
                "the same again."
            )
        yield


def finish(output_dir: Path) -> None:
    """Make a written checkpoint durable, then visible under its own name."""
    folder = partial_folder(output_dir)
    _sync_tree(folder)
    folder.rename(output_dir)
    sync(output_dir.parent)


def forget_restart_points(output_dir: Path) -> None:
    """Remove what nothing goes on from any more."""
    shutil.rmtree(restart_folder(output_dir), ignore_errors=True)


def publish_restart_point(written: Path, output_dir: Path, step: int, keep: int) -> None:
    """Make a written restart point durable, then visible; older ones beyond `keep` go.

    Args:
        written: its folder, complete but for the manifest.
    """
    sizes = {str(file.relative_to(written)): file.stat().st_size for file in _files(written)}
    (written / MANIFEST).write_text(json.dumps(sizes), encoding="utf-8")
    _sync_tree(written)
    point = restart_folder(output_dir) / f"step-{step:08d}"
    shutil.rmtree(point, ignore_errors=True)  # a torn one, else training had gone on from it
    written.rename(point)
    sync(point.parent)
    kept = [point for point in _restart_points(output_dir) if _is_whole(point)][:keep]
    for point in _restart_points(output_dir):
        if point not in kept:
            shutil.rmtree(point)


def newest_restart_point(output_dir: Path) -> Path | None:
    """The complete restart point of the latest step; torn ones are passed over."""
    return next(filter(_is_whole, _restart_points(output_dir)), None)


def note_error(output_dir: Path, error: Exception) -> None:
    """Leave the cause of a failure where the launcher looks; of several ranks the first one's."""
    folder = partial_folder(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError), (folder / ERROR).open("x", encoding="utf-8") as file:
        file.write(f"{type(error).__name__}: {error}")


def step_of(point: Path) -> int:
    """Optimiser steps done at a restart point."""
    return int(point.name.removeprefix("step-"))


def _restart_points(output_dir: Path) -> list[Path]:
    """Folders of restart points, whole or torn, the latest step first."""
    return sorted(restart_folder(output_dir).glob("step-*"), reverse=True)


def _is_whole(point: Path) -> bool:
    try:
        sizes = json.loads((point / MANIFEST).read_text(encoding="utf-8"))
        return all((point / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _sync_tree(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        sync(path)
