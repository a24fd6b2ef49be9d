"""Symbolic links of drops: what they lead to must be of the drop itself."""

from __future__ import annotations

from pathlib import Path


def leads_out(path: Path, folder: Path) -> bool:
    """Whether a path is a symbolic link to something outside of a folder.

    Whoever may put a drop into the inbox is not for that allowed to read what the pipeline may.
    An object store has no links.
    """
    return (
        isinstance(path, Path)
        and path.is_symlink()
        and not path.resolve().is_relative_to(folder.resolve())
    )
