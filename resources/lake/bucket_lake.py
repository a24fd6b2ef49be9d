"""The lake in a bucket: objects are what there is, the local folder has copies and scratch.

Layout below the prefix as in a local lake: `<table>/<dimension>=<key>/…/data.parquet`. What a step
reads is copied to the local folder once, under the hash of its content, so that a copy is never
stale; what is written is uploaded before anybody sees it, here or elsewhere.
"""

from __future__ import annotations

import errno
import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
from pydantic import Field, PrivateAttr

from resources.lake.bucket import Bucket, Stored, make_room
from resources.lake.bucket_errors import AlteredObjectError, ObjectStoreError
from resources.lake.bucket_journal import BucketJournal
from resources.lake.bucket_lease import Lease, leased
from resources.lake.bucket_owner import require_owner
from resources.lake.contract import Partition
from resources.lake.lake import RETIRED, Lake, Written
from resources.lake.lake_folder import DAMAGE, FOLDER_MANIFEST
from resources.lake.manifest import SUFFIX, DamagedError, FileRecord, sha256_of
from resources.lake.manifests import Entry
from resources.lake.pictures import pictures_of
from resources.lake.table import ContractError
from resources.lake.tables import TABLES

SECONDS_IN_USE = 600.0
"""A copy that was asked for so lately is not deleted to make room."""


class BucketLake(Lake):
    """Tables, checkpoints, releases and finished requests below `s3://bucket/prefix`."""

    uri: str = Field(description="s3://bucket/prefix below which everything is stored")
    owner: str = Field(description="the deployment that may write here")
    _opened: Bucket | None = PrivateAttr(default=None)
    _leases: list[Lease] = PrivateAttr(default_factory=list)

    @property
    def bucket(self) -> Bucket:
        """The bucket; the client is made in the process that needs it."""
        if self._opened is None:
            self._opened = Bucket(self.uri)
        return self._opened

    def path(self, table: str, partition: Partition | None = None) -> Path:
        """A local copy of the partition as it is now; a file that is not there if it is not.

        Raises:
            ObjectStoreError: the store cannot be read, or the copy does not fit on the disk.
        """
        key = self.name(table, partition)
        stored = self.bucket.stored(key)
        if stored is None:
            return self._local(table, partition)
        copy = self._local(table, partition).with_name(f"{stored.version}.parquet")
        if copy.is_file():
            copy.touch()
        else:
            self._download(key, stored, copy)
        return copy

    def address(self, table: str, partition: Partition | None = None) -> str:
        """The partition's address in the bucket."""
        return f"{self.uri}/{self.name(table, partition)}"

    def write(
        self,
        table: str,
        rows: pa.Table | Iterable[pa.RecordBatch],
        partition: Partition | None = None,
    ) -> Written:
        """Write a partition to a local file, then make it an object; readers see old or new.

        Raises:
            ContractError: a batch does not have the schema, or a required column has nulls.
            ObjectStoreError: another deployment owns the lake, the store refuses, the disk is full.
        """
        require_owner(self.bucket, self.owner)
        try:
            return super().write(table, rows, partition)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise ObjectStoreError(
                f"{self.root}: the disk is full, where {self.name(table, partition)} is written "
                "before it is uploaded. Set DASD_HOME to a larger disk or delete what is below it "
                "but dagster/; then run the step again"
            ) from error

    def _publish_partition(self, temporary: Path, target: Path) -> Path:
        key = target.relative_to(self.root).as_posix()
        for lease in self._leases:
            lease.require()
        version = self.bucket.upload(temporary, key)[:16]
        copy = target.with_name(f"{version}.parquet")
        temporary.replace(copy)
        _forget_others(copy)
        return copy

    def _damaged(self, table: str, partition: Partition | None, problem: str) -> DamagedError:
        """As in a folder; but where the local copy alone is damaged, that is taken away."""
        stored = self.bucket.stored(self.name(table, partition))
        if stored is not None and stored.sha256 is not None:
            copy = self._local(table, partition).with_name(f"{stored.version}.parquet")
            if copy.is_file() and sha256_of(copy) != stored.sha256:
                copy.unlink()
                return DamagedError(
                    f"{copy}: this copy of {self.address(table, partition)} {problem}, and was "
                    "deleted. Run the step again: it is copied anew"
                )
        return super()._damaged(table, partition, problem)

    def version(self, table: str, partition: Partition | None = None) -> str:
        """The hash of the partition's content."""
        stored = self.bucket.stored(self.name(table, partition))
        if stored is None:
            raise FileNotFoundError(f"{self.address(table, partition)}: not in the lake")
        return stored.version

    def exists(self, table: str, partition: Partition | None = None) -> bool:
        """Whether the partition has been written."""
        return self.bucket.stored(self.name(table, partition)) is not None

    def partitions(self, table: str, **where: str) -> list[dict[str, str]]:
        """Partitions of a table that are in the bucket, sorted, optionally with given keys."""
        found = []
        for key in self.bucket.keys(f"{table}/"):
            *dimensions, name = key.split("/")[1:]
            keys = dict(part.split("=", 1) for part in dimensions)
            if name == "data.parquet" and all(keys.get(n) == k for n, k in where.items()):
                found.append(keys)
        return found

    def retire(self, table: str, partition: Partition) -> None:
        """Move one partition and its pictures below `_retired`; what was there is replaced."""
        require_owner(self.bucket, self.owner)
        name = self.name(table, partition)
        # First: of a partition that is gone nobody would come back for them.
        for key in self.bucket.keys(f"{pictures_of(name)}/"):
            self.put(f"{RETIRED}/{key}", self.bucket.get(key) or b"")
            self.take_away(key)
        self.bucket.upload(self.path(table, partition), f"{RETIRED}/{name}")
        if manifest := self.content(name + SUFFIX):
            self.put(f"{RETIRED}/{name}{SUFFIX}", manifest)
        self.bucket.delete([name, name + SUFFIX])

    def journal(self, asset: str, partition: Partition | None = None) -> Path:
        """Local file for the finished requests of a partition; copies of it go to the bucket."""
        require_owner(self.bucket, self.owner)
        file = super().journal(asset, partition)
        return BucketJournal.at(file, self.bucket, f"_journals/{file.stem}")

    def keyed_folder(self, name: str, key: str) -> Path:
        """Local folder; one that is finished is copied here, once, if it is not."""
        folder = super().keyed_folder(name, key)
        if not folder.is_dir():
            self._fetch_folder(f"{name}/{key}", folder)
        return folder

    def current_folder(self, name: str, whole: bool = True) -> Path:
        """As in a folder, but always whole: a glance would be at the objects, not at the copy."""
        return super().current_folder(name)

    def file_of_current(self, name: str, file: str) -> Path:
        """One file of the current folder of a name, without the others; it is not compared.

        Raises:
            ContractError: none was made, or it is gone.
        """
        key = self._current_key(name)
        folder = super().keyed_folder(name, key)
        if folder.is_dir():
            return folder / file
        content = self.bucket.get(f"{name}/{key}/{file}")
        if content is None:
            raise ContractError(f"{name}: {self.uri} has no {file} of it")
        return super().publish_file(f"_single_files/{name}/{key}/{file}", content)

    def publish_folder(self, name: str) -> None:
        """Upload a finished folder below the root; others see it once its last file is there."""
        require_owner(self.bucket, self.owner)
        if self.bucket.get(f"{name}/{FOLDER_MANIFEST}") is not None:
            return  # its name is the hash of what it holds, or of what shaped it
        sums = {
            file: self.bucket.upload(Path(self.root, name, file), f"{name}/{file}")
            for file in self._files(name)
        }
        self.bucket.put(f"{name}/{FOLDER_MANIFEST}", json.dumps(sums, indent=1).encode())

    def file(self, name: str) -> Path:
        """Local copy of a published file; it does not exist if nothing was published."""
        content = self.bucket.get(name)
        if content is None:
            return Path(self.root, name)
        return super().publish_file(name, content)

    def publish_file(self, name: str, content: bytes) -> Path:
        """Write one file (a report, a pointer) to the bucket, and here."""
        require_owner(self.bucket, self.owner)
        self.bucket.put(name, content)
        return super().publish_file(name, content)

    def take_away(self, name: str) -> None:
        """Delete a small object that can be made again, and what is here of it."""
        require_owner(self.bucket, self.owner)
        self.bucket.delete([name])
        super().take_away(name)

    def set_aside(self, folder: str) -> None:
        """Take a damaged folder out of the way, here; in the bucket it is no folder any more."""
        require_owner(self.bucket, self.owner)
        sums = json.loads(self.bucket.get(f"{folder}/{FOLDER_MANIFEST}") or b"{}")
        sums.pop(DAMAGE, None)
        self.bucket.delete([f"{folder}/{FOLDER_MANIFEST}"])
        here = Path(self.root, folder)
        is_whole = all(
            (here / file).is_file() and sha256_of(here / file) == sha256
            for file, sha256 in sums.items()
        )
        if here.is_dir() and not is_whole:  # else what is here is what goes up again
            super().set_aside(folder)

    def content(self, name: str) -> bytes | None:
        """A small object; None if there is none."""
        return self.bucket.get(name)

    def put(self, name: str, content: bytes) -> None:
        """Write a small object, and nothing here."""
        self.bucket.put(name, content)

    def keep_file(self, temporary: Path, name: str) -> None:
        """Upload a large file under a name that no other ever has; the copy here stays."""
        require_owner(self.bucket, self.owner)
        self.bucket.upload(temporary, name)
        super().keep_file(temporary, name)

    def kept_file(self, name: str) -> Path:
        """A local copy of a file that was kept; not there if the object is not, or is damaged."""
        copy = super().kept_file(name)
        if not copy.is_file() and (stored := self.bucket.stored(name)):
            with suppress(AlteredObjectError):
                self._download(name, stored, copy)
        return copy

    def keep_only(self, folder: str, names: set[str]) -> None:
        """Delete what else lies in a folder of kept files, in the bucket and here."""
        require_owner(self.bucket, self.owner)
        self.bucket.delete(set(self.bucket.keys(f"{folder}/")) - names)
        super().keep_only(folder, names)

    def listing(self, begin: str) -> dict[str, Entry]:
        """All objects whose keys begin so."""
        return self.bucket.listing(begin)

    def is_touched(self, file: Entry, manifest: Entry) -> bool:
        """As in a folder; a store's clock often shows but seconds, in which both were written."""
        return file.changed > manifest.changed

    def known_record(self, name: str) -> FileRecord | None:
        """The record of an object as it is now; None if there is none, or no hash of it."""
        stored = self.bucket.stored(name)
        return FileRecord(stored.sha256, stored.n_bytes) if stored and stored.sha256 else None

    def sha256(self, name: str) -> str:
        """Hash of a whole object, as it is read."""
        return self.bucket.sha256(name)

    @contextmanager
    def exclusively(self, work: str, waiting: Callable[[str], None]) -> Iterator[None]:
        """A block that one process at a time is in, of all that share the bucket.

        Raises:
            LeaseLostError: when a partition is written, or at the end: this process was held up for
                so long that another one went on.
            ObjectStoreError: another deployment owns the lake, or the store cannot be asked.
        """
        require_owner(self.bucket, self.owner)
        with leased(self.bucket, work, waiting) as lease:
            self._leases.append(lease)
            try:
                yield
            finally:
                self._leases.remove(lease)

    def try_out(self) -> None:
        """Do once all that a lake needs to be allowed, and leave nothing behind.

        Raises:
            ObjectStoreError: something is not allowed, or another deployment owns the lake.
        """
        key = f"_tried/{uuid.uuid4().hex}"
        require_owner(self.bucket, self.owner)
        self.bucket.put(key, b"dasd")
        is_listed = key in self.bucket.keys("_tried/")
        is_read = self.bucket.get(key) == b"dasd"
        is_written_again = self.bucket.create(key, b"again")
        self.bucket.delete([key])
        if not (is_listed and is_read):
            raise ObjectStoreError(
                f"{self.uri}: an object that was just written cannot be "
                f"{'read' if is_listed else 'listed'}; a lake needs a store that is consistent"
            )
        if is_written_again:
            raise ObjectStoreError(
                f"{self.uri}: the store has replaced an object where it was asked to make a new one"
                " only (If-None-Match), so that two could write the lake at once; a lake needs a "
                "store with conditional writes"
            )

    def _fetch_folder(self, name: str, folder: Path) -> None:
        content = self.bucket.get(f"{name}/{FOLDER_MANIFEST}")
        if content is None:
            return
        partial = folder.with_name(f".{uuid.uuid4().hex}.tmp")
        found: dict[str, Stored] = {}
        for file, sha256 in json.loads(content).items():
            stored = self.bucket.stored(f"{name}/{file}")
            if stored is None or stored.sha256 != sha256:
                raise ObjectStoreError(
                    f"{self.uri}/{name}/{file}: is gone or changed. Bring the object back from "
                    f"a backup, or delete {name}/ in the bucket and make it again"
                )
            found[file] = stored
        # All of it, before the first byte comes: a disk that cannot hold it is not filled.
        make_room(folder.parent, sum(one.n_bytes for one in found.values()), self._unused_copies())
        try:
            for file, stored in found.items():
                self._download(f"{name}/{file}", stored, partial / file)
            if not folder.is_dir():
                partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _download(self, key: str, stored: Stored, target: Path) -> None:
        root = Path(self.root)
        root.mkdir(parents=True, exist_ok=True)
        make_room(root, stored.n_bytes, self._unused_copies())
        self.bucket.download(key, stored, target)
        if target.suffix == ".parquet":
            _forget_others(target)

    def _unused_copies(self) -> Iterator[Path]:
        """Copies of partitions that nothing has asked for lately, the oldest first."""
        copies = [
            (file.stat().st_mtime, file)
            for table in TABLES
            for file in Path(self.root, table).rglob("*.parquet")
        ]
        for asked_for, file in sorted(copies):
            if not _is_in_use(asked_for):
                yield file


def _forget_others(copy: Path) -> None:
    """Delete the copies of earlier versions, but what another step may be about to open."""
    for other in copy.parent.glob("*.parquet"):
        if other != copy and not _is_in_use(other.stat().st_mtime):
            other.unlink(missing_ok=True)


def _is_in_use(asked_for: float) -> bool:
    return asked_for >= time.time() - SECONDS_IN_USE
