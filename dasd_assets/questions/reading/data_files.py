"""The data files of a drop: one file, or a dataset folder in one of Hugging Face's layouts."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from dasd_assets.questions.inbox.links import leads_out
from dasd_assets.questions.inbox.partition_keys import DROP_SUFFIXES
from dasd_assets.questions.reading.rows import DropError

_STATE = "state.json"
_OF_THE_HUB = ("README.md", "LICENSE", "dataset_info.json", "dataset_infos.json", _STATE)
_POINTER = b"version https://git-lfs"


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
        DropError: the folder has no data, none that fits the pattern, or lacks a listed file; a
            file is a pointer to one that was not fetched.
    """
    if not drop.is_dir():
        _refuse_pointer(drop)
        return [DataFile(drop, drop.name)]
    inside = _inside(drop)
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
    for name in fitting:
        _refuse_pointer(drop / name)
    return [DataFile(drop / name, f"{drop.name}/{name}") for name in fitting]


def passed_over(drop: Path) -> list[str]:
    """Files of a drop that are not read because of their names, but for what the hub adds."""
    if not drop.is_dir():
        return []
    inside = _inside(drop)
    saved = {name for state in inside if state.split("/")[-1] == _STATE
             for name in _saved(drop, state)}  # fmt: skip
    return [
        name
        for name in inside
        if not name.endswith(DROP_SUFFIXES)
        and name not in saved
        and name.split("/")[-1] not in _OF_THE_HUB
    ]


def refuse_links(drop: Path) -> None:
    """Refuse a drop with a link to what is not of the drop.

    Raises:
        DropError: names the link and where it leads.
    """
    for path in drop.rglob("*") if drop.is_dir() else ():
        if leads_out(path, drop):
            raise DropError(
                f"{path}: is a symbolic link to {path.resolve()}, outside of the drop, and is not "
                "followed. Put the file itself there (`cp -rL` copies a folder without links)."
            )


def _inside(drop: Path) -> list[str]:
    return sorted(
        path.relative_to(drop).as_posix()
        for path in drop.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(drop).parts)
    )


def _refuse_pointer(file: Path) -> None:
    with file.open("rb") as stream:
        if stream.read(len(_POINTER)) == _POINTER:
            raise DropError(
                f"{file}: is a Git LFS pointer, not the data. Fetch the data itself "
                "(`git lfs pull`)."
            )


def _saved(drop: Path, state: str) -> list[str]:
    """Arrow files of one saved data set, in its order."""
    try:
        listed = json.loads((drop / state).read_text(encoding="utf-8"))["_data_files"]
        names = [str(entry["filename"]) for entry in listed]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DropError(f"{drop / state}: not written by `datasets.save_to_disk`") from error
    folder = (drop / state).parent
    for name in names:
        if not Path(os.path.normpath(folder / name)).is_relative_to(os.path.normpath(drop)):
            raise DropError(f"{drop / state}: lists {name!r}, which is outside of the drop")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DropError(f"{folder}: {missing[0]} is missing, which {_STATE} lists")
    return [(folder / name).relative_to(drop).as_posix() for name in names]
