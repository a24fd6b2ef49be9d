"""Whether the files of a lake are what was written: at a glance, or every byte of them."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from resources.lake.lake_folder import DAMAGE, FOLDER_MANIFEST, LakeFolder
from resources.lake.manifest import SUFFIX, Manifest, ManifestError
from resources.lake.manifests import Entry, mark
from resources.lake.tables import TABLES
from resources.lake.verified_parquet import AlteredError, VerifiedParquet, wrong_size

if TYPE_CHECKING:
    from resources.lake.lake_files import LakeFiles

GONE = "is gone"
CHANGED = "has bytes that are not what was written"
SUMS = "SHA256SUMS"

KEYED = ("checkpoints/", "training_sets/")
FOLDERS = (*KEYED, "releases/")
"""What is published as folders, not as files."""

REQUESTS_AT_ONCE = 16

_SUM = re.compile(r"([0-9a-f]{64})  (.+)")


class Examination:
    """The files of a lake as they were when this was asked for the first of their folder.

    At a glance a file is there, has the size that its manifest names, and was not touched after it
    was written, or else has the same content all the same. What a disk changes by itself, no glance
    sees: the next reader of it does, and a look at the whole.
    """

    def __init__(self, lake: LakeFolder) -> None:
        self._lake = lake
        self._listed: dict[str, dict[str, Entry]] = {}
        self._manifests: dict[str, bytes | None] = {}
        self._recorded: dict[str, dict[str, list[str]]] = {}

    def problem(self, name: str, whole: bool = False) -> str | None:
        """What is wrong with something that has to be there; None if nothing is.

        The answer continues a sentence that begins with the name.

        Args:
            name: path of a file below the lake's root; or `checkpoints/…`, `training_sets/…` and
                `releases/…` for the current folder of that name.
            whole: compare every byte.
        """
        if not name.startswith(FOLDERS):
            return self._file_problem(name, whole)
        try:
            folder = self._current(name)
        except ValueError:
            return "has a current.json that cannot be read"
        return self.folder_problem(folder, whole) if folder else GONE

    def table_problems(self) -> Iterator[tuple[str, str]]:
        """Every file of a table with which something is wrong at a glance, and what."""
        for table in TABLES:
            names = {name.removesuffix(SUFFIX) for name in self._entries(f"{table}/")}
            for name in sorted(names):
                if not name.endswith("/data.parquet") or self._is_awaited(name):
                    continue
                if problem := self.problem(name):
                    yield name, problem

    def _is_awaited(self, name: str) -> bool:
        """Whether the first write of a file has not come to its end: nobody misses it yet."""
        try:
            manifest = Manifest.from_json(self._manifest(name) or b"")
        except ManifestError:
            return False
        return None in manifest.replaces and name not in self._entries(name)

    def is_recorded(self, name: str) -> bool:
        """Whether there is something that can be compared with what was written."""
        if not name.startswith(FOLDERS):
            return self._manifest(name) is not None
        folder = self._current(name)
        return folder is not None and self._sums(folder) is not None

    def recorded_in(self, folder: str) -> list[str]:
        """Files that were written to a folder, there or not."""
        top = folder.partition("/")[0]
        if top not in self._recorded:
            by_folder = self._recorded[top] = defaultdict(list)
            for name in self._entries(f"{folder}/"):
                if name.endswith(SUFFIX):
                    by_folder[name.rpartition("/")[0]].append(name.removesuffix(SUFFIX))
        return self._recorded[top].get(folder, [])

    def is_there(self, name: str) -> bool:
        """Whether there is a file of this name, whatever is in it."""
        return name in self._entries(name)

    def mark(self, name: str, problem: str) -> None:
        """Have something made again by the next `dasd run`."""
        if not name.startswith(FOLDERS):
            mark(self._lake, name, problem)
        elif folder := self._current(name):
            self._lake.mark_folder(folder, problem)

    def _file_problem(self, name: str, whole: bool) -> str | None:
        entry = self._entries(name).get(name)
        stored = self._manifest(name)
        if stored is None:
            return GONE if entry is None else self._unrecorded(name) if whole else None
        try:
            manifest = Manifest.from_json(stored)
        except ManifestError:
            return "has a manifest that cannot be read"
        if manifest.damage:
            return manifest.damage
        if entry is None:
            return GONE
        versions = manifest.versions
        if not versions:
            return self._unrecorded(name) if whole else None
        if entry.n_bytes not in [one.n_bytes for one in versions]:
            return wrong_size(entry.n_bytes, [one.n_bytes for one in versions])
        is_touched = self._lake.is_touched(entry, self._entries(name)[name + SUFFIX])
        if not (whole or is_touched):
            return None
        if self._lake.sha256(name) not in [one.sha256 for one in versions]:
            return CHANGED
        if is_touched:
            self._not_again(name + SUFFIX, stored)
        return None

    def folder_problem(self, folder: str, whole: bool = False) -> str | None:
        """What is wrong with a folder of files that are published together."""
        entries = self._entries(f"{folder}/")
        found = self._sums(folder)
        if found is None:
            # Checkpoints had none in a folder, before there were any.
            is_there = any(name.startswith(f"{folder}/") for name in entries)
            return None if is_there else GONE
        listed, stored = found
        try:
            expected = _sums(stored)
        except ValueError:
            return f"has a {listed} that cannot be read"
        if damage := expected.pop(DAMAGE, None):
            return damage
        written = entries[f"{folder}/{listed}"]
        was_touched = False
        for file, sha256 in expected.items():
            name = f"{folder}/{file}"
            if name not in entries:
                return f"lacks {file}"
            is_touched = self._lake.is_touched(entries[name], written)
            if (whole or is_touched) and self._lake.sha256(name) != sha256:
                return f"has in {file} bytes that are not what was written"
            was_touched |= is_touched
        if was_touched:
            self._not_again(f"{folder}/{listed}", stored)
        return None

    def _sums(self, folder: str) -> tuple[str, bytes] | None:
        """Name and content of what lists the files of a folder."""
        for name in (FOLDER_MANIFEST, SUMS):
            if (stored := self._lake.content(f"{folder}/{name}")) is not None:
                return name, stored
        return None

    def _current(self, name: str) -> str | None:
        """The folder that a name stands for; None if there is none.

        Raises:
            ValueError: what says which it is cannot be read.
        """
        if name.startswith(KEYED):
            pointer = self._lake.content(f"{name}/current.json")
            if pointer is None:
                return None
            found = json.loads(pointer)
            if not isinstance(found, dict) or "key" not in found:
                raise ValueError("no key")
            return f"{name}/{found['key']}"
        link = Path(self._lake.root, name)
        if link.is_symlink():
            return f"{name.rpartition('/')[0]}/{link.readlink()}"
        # Of a lake in a bucket only the machine that made a release has the link.
        folders = {
            "/".join(each.split("/")[:2]): entry.changed
            for each, entry in self._entries(name).items()
            if each.startswith(f"{name}-")
        }
        return max(folders, key=folders.__getitem__, default=None)

    def _unrecorded(self, name: str) -> str | None:
        """Read a file that was written before there were manifests, as far as it can be."""
        table, *folders = name.split("/")[:-1]
        partition = dict(folder.split("=", 1) for folder in folders)
        if table not in TABLES:
            return None
        try:
            with VerifiedParquet(self._lake.path(table, partition), None) as parquet:
                for number in range(parquet.n_groups):
                    parquet.group(number, parquet.schema.names)
        except AlteredError as error:
            return str(error)
        return None

    def _entries(self, name: str) -> dict[str, Entry]:
        """Files of the folder at the top that a name is in; of one at the root, it alone."""
        top, slash, _ = name.partition("/")
        if top not in self._listed:
            found = self._listed[top] = self._lake.listing(top + slash)
            manifests = [one for one in found if one.endswith("/data.parquet" + SUFFIX)]
            with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
                contents = pool.map(self._lake.content, manifests)
                self._manifests |= zip(manifests, contents, strict=True)
        return self._listed[top]

    def _manifest(self, name: str) -> bytes | None:
        entries = self._entries(name)
        if name + SUFFIX not in entries:
            return None
        if name + SUFFIX not in self._manifests:
            self._manifests[name + SUFFIX] = self._lake.content(name + SUFFIX)
        return self._manifests[name + SUFFIX]

    def _not_again(self, name: str, manifest: bytes) -> None:
        """Write a manifest again, so that it is newer than its file."""
        try:
            self._lake.put(name, manifest)
        except OSError:
            return  # nothing can be written: then it is compared each time


def set_aside_damaged(lake: LakeFiles, folder: str) -> str | None:
    """Make place for a folder that is published again; gives what was wrong with the one there."""
    problem = Examination(lake).folder_problem(folder, whole=True)
    if problem is None or problem == GONE:
        return None
    lake.set_aside(folder)
    return problem


def _sums(stored: bytes) -> dict[str, str]:
    """File -> SHA-256, of a folder's manifest or of SHA256SUMS.

    Raises:
        ValueError: it is neither.
    """
    if stored.startswith(b"{"):
        found = json.loads(stored)
        return {str(name): str(sha256) for name, sha256 in found.items()}
    lines = [_SUM.fullmatch(line) for line in stored.decode().splitlines()]
    if not lines or None in lines:
        raise ValueError
    return {line[2]: line[1] for line in lines if line}
