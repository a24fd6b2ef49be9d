"""The data files of a drop: one file, or a dataset folder in one of Hugging Face's layouts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from dasd_assets.questions.inbox.partition_keys import DROP_SUFFIXES
from dasd_assets.questions.reading.rows import DropError

_STATE = "state.json"


@dataclass(frozen=True)
class DataFile:
    """One file of a drop and the name its rows are known by."""

    path: Path
    name: str


def data_files(
    drop: Path, pattern: str = "*", suffixes: tuple[str, ...] = DROP_SUFFIXES
) -> list[DataFile]:
    """Files of a drop in the order they are read in.

    A folder is either as it lies on the hub (Parquet or JSONL files at any depth) or as
    `datasets.save_to_disk` wrote it (Arrow files that a `state.json` beside them lists). Hidden
    files and folders, such as the `.cache` of a download, are left out.

    Args:
        drop: file or folder.
        pattern: which files of a folder, by their path inside it; `*` stands for anything.
        suffixes: how the names of data files end.

    Raises:
        DropError: the folder has no data, none that fits the pattern, or lacks a listed file.
    """
    if not drop.is_dir():
        return [DataFile(drop, drop.name)]
    inside = sorted(
        path.relative_to(drop).as_posix()
        for path in drop.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(drop).parts)
    )
    found = [name for name in inside if name.endswith(suffixes)]
    for state in (name for name in inside if name.split("/")[-1] == _STATE):
        found += _saved(drop, state)
    if not found:
        raise DropError(
            f"{drop}: a folder without data. Expected files ending in {', '.join(suffixes)}, "
            f"or a folder written by `datasets.save_to_disk`; it holds "
            f"{', '.join(inside[:5]) or 'no files'}."
        )
    fitting = [name for name in found if fnmatchcase(name, pattern)]
    if not fitting:
        raise DropError(
            f"{drop}: no data file fits {pattern!r} (`files` of its layout); there are "
            f"{', '.join(found[:5])}{', …' if len(found) > 5 else ''}."
        )
    return [DataFile(drop / name, f"{drop.name}/{name}") for name in fitting]


def _saved(drop: Path, state: str) -> list[str]:
    """Arrow files of one saved data set, in its order."""
    try:
        listed = json.loads((drop / state).read_text(encoding="utf-8"))["_data_files"]
        names = [str(entry["filename"]) for entry in listed]
    except (ValueError, KeyError, TypeError) as error:
        raise DropError(f"{drop / state}: not written by `datasets.save_to_disk`") from error
    folder = (drop / state).parent
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DropError(f"{folder}: {missing[0]} is missing, which {_STATE} lists")
    return [(folder / name).relative_to(drop).as_posix() for name in names]
