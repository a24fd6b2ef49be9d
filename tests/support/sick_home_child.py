"""Commands over data folders that are sick, below a folder; prints what became of each as JSON.

The folder has `full`, a small disk of its own, and `readonly`, which cannot be written to.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from support.pipeline import Pipeline

from dasd_assets.running import local_run

RUN = ("run", "--select", "key:benchmark_questions")
COMMANDS = (("status",), ("ui",), RUN)
LEFT_BYTES = (0, 256 * 1024)
"""Of the disk: too little for any command, and too little for the records of a run."""
DATABASES = {
    "history/runs.db": 4096, "history/runs/index.db": 4096, "schedules/schedules.db": 0,
}  # fmt: skip
"""Each with the bytes at its beginning that stay."""


class StartedError(Exception):
    """`dasd ui` would have become the webserver."""


def told(pipeline: Pipeline, command: tuple[str, ...]) -> tuple[int, str]:
    """Exit code of a command, and what it printed as errors."""
    ended = pipeline.ask(*command)
    return ended.returncode, ended.stderr


def full(pipeline: Pipeline) -> Iterator[tuple[str, int, str]]:
    """Fill the disk, then make room again."""
    filler = pipeline.home.parent / "filler"
    _fill(filler, 0)
    new = Pipeline(pipeline.folder, pipeline.home.with_name("new"))
    yield "a new home", *told(new, ("status",))
    yield "its dagster.yaml", int((new.home / "dagster" / "dagster.yaml").exists()), ""
    filler.unlink()
    for left in LEFT_BYTES:
        told(pipeline, ("status",))  # makes what is not there yet
        _fill(filler, left)
        for command in COMMANDS if not left else [RUN]:
            yield f"{command[0]}, {left} bytes left", *told(pipeline, command)
        filler.unlink()
    yield "run, with room", *told(pipeline, RUN)


def _fill(filler: Path, left: int) -> None:
    filler.write_bytes(bytes(shutil.disk_usage(filler.parent).free - left))


def readonly(pipeline: Pipeline) -> Iterator[tuple[str, int, str]]:
    """One that was made, and one that is to be made."""
    for home in (pipeline.home, pipeline.home / "new"):
        for command in COMMANDS:
            yield command[0], *told(Pipeline(pipeline.folder, home), command)


def corrupt(pipeline: Pipeline) -> Iterator[tuple[str, int, str]]:
    """Each of Dagster's databases in turn, which begins as it should or not even that."""
    for name, n_whole in DATABASES.items():
        file = pipeline.home / "dagster" / name
        for beside in ("-wal", "-shm"):
            Path(f"{file}{beside}").unlink(missing_ok=True)
        content = file.read_bytes()
        file.write_bytes(content[:n_whole] + b"\xff" * (len(content) - n_whole))
        for command in COMMANDS:
            yield f"{name}: {command[0]}", *told(pipeline, command)
        file.write_bytes(content)
    yield "put back: status", *told(pipeline, ("status",))


def main(folder: Path) -> None:
    """Print for each kind of sickness what each command said."""
    local_run.PRELOADED = "typing"  # what is run here needs no library that takes long

    def become(*_: object) -> None:
        raise StartedError

    os.execv = become  # type: ignore[assignment]
    seen = {
        kind.__name__: list(kind(Pipeline(folder, folder / kind.__name__ / "home")))
        for kind in (full, readonly, corrupt)
    }
    print(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
