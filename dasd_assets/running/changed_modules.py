"""Modules whose files changed since they were imported, so that they can be imported anew."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path


class ModuleFiles:
    """The files of some packages as they were when this was made, before their import.

    A file has changed if its time of change or its size is another, or if it is not among them.
    Whether the time is later says nothing: a file that is unpacked, or copied with its time, may
    be older than the one in its place, and another machine's clock may be ahead.
    """

    def __init__(self, packages: Sequence[str]) -> None:
        """Note the files of these packages."""
        self._packages = frozenset(packages)
        self._before = {file: _as_it_is(file) for file in _files(packages)}

    def forget_changed(self, but: str) -> None:
        """Forget all modules of the packages if a file of one has changed: they are imported anew.

        Args:
            but: a module to keep, as it knows what a new one would not.
        """
        ours = {
            name: Path(module.__file__) if module.__file__ else None
            for name, module in sys.modules.items()
            if name.partition(".")[0] in self._packages and name != but
        }
        if any(file is not None and self._changed(file) for file in ours.values()):
            for name in ours:
                del sys.modules[name]

    def _changed(self, file: Path) -> bool:
        now = _as_it_is(file)
        return now is None or now != self._before.get(file)


def _files(packages: Sequence[str]) -> Iterator[Path]:
    for package in packages:
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            yield from Path(folder).rglob("*.py")


def _as_it_is(file: Path) -> tuple[int, int] | None:
    """Time of change and size; None if it is not there."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
