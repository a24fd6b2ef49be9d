"""What lies below a lake's root on this machine: files, and what is known of them."""

from __future__ import annotations

import json
from pathlib import Path

from resources.durable import write_whole
from resources.lake.contract import Partition
from resources.lake.manifest import FileRecord, plain_record, sha256_of
from resources.lake.manifests import Entry

FOLDER_MANIFEST = ".manifest.json"
"""Of a checkpoint's folder, written last: the SHA-256 of each of its files."""


DAMAGE = ""
"""Beside the files in it: what is wrong with them."""


class LakeFolder:
    """Files below one root folder; names are paths relative to it.

    It knows nothing of Dagster, which takes a second to import: so a command can look at a lake.
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def path(self, table: str, partition: Partition | None = None) -> Path:
        """File of one partition of a table; the dimensions stand in the order given."""
        return self._local(table, partition)

    def name(self, table: str, partition: Partition | None = None) -> str:
        """Path of a partition's file below the root, wherever that is."""
        dimensions = [f"{name}={key}" for name, key in (partition or {}).items()]
        return "/".join([table, *dimensions, "data.parquet"])

    def _local(self, table: str, partition: Partition | None) -> Path:
        return Path(self.root, self.name(table, partition))

    def file(self, name: str) -> Path:
        """A file below the root that was published; it need not exist."""
        return Path(self.root, name)

    def publish_file(self, name: str, content: bytes) -> Path:
        """Write one file (a pointer, a summary) below the root atomically."""
        target = Path(self.root, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, content)
        return target

    def content(self, name: str) -> bytes | None:
        """A small file below the root; None if there is none."""
        try:
            return Path(self.root, name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put(self, name: str, content: bytes) -> None:
        """Write a small file below the root atomically."""
        LakeFolder.publish_file(self, name, content)

    def listing(self, begin: str) -> dict[str, Entry]:
        """All files whose names begin so, in order; a folder's where it ends with a slash."""
        folder, _, first = begin.rpartition("/")
        place = Path(self.root, folder)
        found = {}
        for file in sorted(place.glob(f"{first}*") if first else place.rglob("*")):
            try:
                stat = file.stat()
            except FileNotFoundError:
                continue  # it went away since, or what a link shows did
            if not file.is_dir():
                name = file.relative_to(self.root).as_posix()
                found[name] = Entry(stat.st_size, stat.st_ctime_ns)
        return found

    def is_touched(self, file: Entry, manifest: Entry) -> bool:
        """Whether a file was changed after its manifest was written, or may have been."""
        return file.changed >= manifest.changed

    def known_record(self, name: str) -> FileRecord | None:
        """The record of a file as it is now; None if there is none."""
        file = Path(self.root, name)
        return plain_record(file) if file.is_file() else None

    def sha256(self, name: str) -> str:
        """Hash of a whole file below the root, as it is read."""
        return sha256_of(Path(self.root, name))

    def mark_folder(self, name: str, problem: str) -> None:
        """Remember that a folder with checksums is damaged, so that it is made again."""
        sums = json.loads(self.content(f"{name}/{FOLDER_MANIFEST}") or b"{}")
        self.put(f"{name}/{FOLDER_MANIFEST}", json.dumps({DAMAGE: problem, **sums}).encode())
