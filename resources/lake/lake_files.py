"""What a lake keeps beside its tables: checkpoints, releases, pages, journals, small files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import dagster as dg
from pydantic import Field

from resources.durable import publish
from resources.lake.contract import Partition
from resources.lake.examination import Examination
from resources.lake.lake_folder import FOLDER_MANIFEST, LakeFolder
from resources.lake.lock_file import locked
from resources.lake.manifest import DamagedError, record_of, sha256_of
from resources.lake.manifests import recorded
from resources.lake.table import ContractError


class LakeFiles(dg.ConfigurableResource, LakeFolder):
    """What is published below one root folder; names are paths relative to it."""

    root: str = Field(description="folder below which everything is stored")

    def journal(self, asset: str, partition: Partition | None = None) -> Path:
        """File for the finished requests of a partition that is being generated."""
        name = "__".join([asset, *(partition or {}).values()])
        file = Path(self.root, "_journals", f"{name}.journal")
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def keyed_folder(self, name: str, key: str) -> Path:
        """One folder of all that an asset has made; `key` is the hash of what shaped it.

        Args:
            name: `checkpoints/…` or `training_sets/…`.
        """
        folder = Path(self.root, name, key)
        folder.parent.mkdir(parents=True, exist_ok=True)
        return folder

    def publish_keyed(self, name: str, key: str) -> None:
        """Make a finished folder the current one of its name, atomically."""
        self.publish_folder(f"{name}/{key}")
        self.publish_file(f"{name}/current.json", json.dumps({"key": key}).encode())

    def current_folder(self, name: str, whole: bool = True) -> Path:
        """The current folder of a name.

        Args:
            whole: compare every byte of it; else look at it as `dasd run` does (`Examination`).

        Raises:
            ContractError: none was made, or it is gone.
            DamagedError: a file of it is gone or altered.
        """
        place, folder = self._current(name)
        if whole:
            self._require_whole(place, folder)
        elif problem := Examination(self).folder_problem(place):
            self.mark_folder(place, problem)
            raise DamagedError(f"{folder} {problem}. `dasd run` makes {place} again")
        return folder

    def checkpoint_folder(self, checkpoint: str, key: str) -> Path:
        """Folder of one trained checkpoint."""
        return self.keyed_folder(f"checkpoints/{checkpoint}", key)

    def publish_checkpoint(self, checkpoint: str, key: str) -> None:
        """Make a finished checkpoint folder the current one, atomically."""
        self.publish_keyed(f"checkpoints/{checkpoint}", key)

    def current_checkpoint(self, checkpoint: str) -> Path:
        """Folder of the current checkpoint.

        Raises:
            ContractError: no such checkpoint has been trained, or its folder is gone.
        """
        return self.current_folder(f"checkpoints/{checkpoint}")

    def _require_whole(self, name: str, folder: Path, only: str | None = None) -> None:
        """Compare every byte of a folder, or of one file of it, where it has checksums.

        Raises:
            DamagedError: naming the first file that is gone or altered.
        """
        sums = json.loads(self.content(f"{name}/{FOLDER_MANIFEST}") or b"{}")
        for file, sha256 in sums.items():  # one that is marked has a file `` that is none
            if only not in (None, file):
                continue
            there = folder / file
            if not there.is_file() or sha256_of(there) != sha256:
                what = "is altered" if there.is_file() else "is gone"
                self.mark_folder(name, f"has a file {file} that {what}")
                raise DamagedError(f"{there} {what}. `dasd run` makes {name} again")

    def checkpoint_file(self, checkpoint: str, file: str) -> Path:
        """One file of the current checkpoint.

        Raises:
            ContractError: no such checkpoint has been trained, or its folder is gone.
        """
        return self.file_of_current(f"checkpoints/{checkpoint}", file)

    def file_of_current(self, name: str, file: str) -> Path:
        """One file of the current folder of a name, compared; the others are not looked at.

        In a bucket nothing is compared: such a file is for people, and training looks at the whole.

        Raises:
            ContractError: none was made, or it is gone.
            DamagedError: the file is gone or altered.
        """
        place, folder = self._current(name)
        self._require_whole(place, folder, file)
        return folder / file

    def _current(self, name: str) -> tuple[str, Path]:
        """The current folder of a name: as a name itself, and here."""
        key = self._current_key(name)
        folder = self.keyed_folder(name, key)
        if not folder.is_dir():
            raise ContractError(f"{name}: its current.json names {folder}, which is gone")
        return f"{name}/{key}", folder

    def _current_key(self, name: str) -> str:
        pointer = self.file(f"{name}/current.json")
        if not pointer.is_file():
            raise ContractError(f"{name}: not made yet ({pointer} is missing)")
        key: str = json.loads(pointer.read_text(encoding="utf-8"))["key"]
        return key

    def publish_folder(self, name: str) -> None:
        """Keep a finished folder below the root: here it stays where it is, with its checksums."""
        if Path(self.root, name).is_dir() and not self.content(f"{name}/{FOLDER_MANIFEST}"):
            sums = {file: sha256_of(Path(self.root, name, file)) for file in self._files(name)}
            self.put(f"{name}/{FOLDER_MANIFEST}", json.dumps(sums, indent=1).encode())

    def _files(self, folder: str) -> list[str]:
        """Files of a local folder that is published, relative to it."""
        root = Path(self.root, folder)
        files = sorted(file for file in root.rglob("*") if file.is_file())
        names = (file.relative_to(root).as_posix() for file in files)
        return [name for name in names if name != FOLDER_MANIFEST]

    def set_aside(self, folder: str) -> None:
        """Take a damaged folder out of the way of the one that is made in its place."""
        there = Path(self.root, folder)
        aside = there.with_name(f".{there.name}.damaged")
        shutil.rmtree(aside, ignore_errors=True)
        there.rename(aside)

    def publish_page(self, name: str, content: bytes) -> Path:
        """Write one file that an asset stands for (a report), with a manifest."""
        with recorded(self, name, record_of(content)):
            return self.publish_file(name, content)

    def take_away(self, name: str) -> None:
        """Delete a small file that can be made again; its manifest says that there was one."""
        Path(self.root, name).unlink(missing_ok=True)

    def keep_file(self, temporary: Path, name: str) -> None:
        """Keep a large file, written below the root, under a name that no other ever has."""
        publish(temporary, Path(self.root, name))

    def kept_file(self, name: str) -> Path:
        """A file that was kept, here; it need not be there."""
        return Path(self.root, name)

    def keep_only(self, folder: str, names: set[str]) -> None:
        """Delete what else lies in a folder of kept files: what was replaced, or half written."""
        for file in Path(self.root, folder).glob("*"):
            if f"{folder}/{file.name}" not in names:
                file.unlink(missing_ok=True)

    def exclusively(
        self, work: str, waiting: Callable[[str], None]
    ) -> AbstractContextManager[None]:
        """A block that one process at a time is in, of all that share the lake, wherever they are.

        Args:
            work: what the block does, one word; blocks of another do not wait for it.
            waiting: is told once if another process is in it.

        Raises:
            OSError: this cannot be held here. In a bucket also when a partition is written, or at
                the end, where this process was held up for so long that another one went on.
        """
        return locked(Path(self.root, "_locks", f"{work}.lock"), work, waiting)

    def free_bytes(self) -> int:
        """Free space on the lake's disk."""
        Path(self.root).mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self.root).free
