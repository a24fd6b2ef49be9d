"""A bucket below one prefix: objects appear whole or not at all.

The client is dagster-aws's S3Resource. Endpoint and region come from the environment
(AWS_ENDPOINT_URL, AWS_DEFAULT_REGION), credentials from the environment or the machine's role; none
of them is ever stored.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from resources.lake.bucket_errors import (
    MISSING,
    TAKEN,
    AlteredObjectError,
    ObjectStoreError,
    code_of,
    explaining,
)
from resources.lake.manifests import Entry

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

PART_BYTES = 64 * 1024**2
"""A larger file goes up in parts of this size, of which the store makes one object at the end."""

ATTEMPTS = 6
"""Of one request; the pauses between them grow to 20 s."""

KEYS_AT_ONCE = 1_000
PIECE_BYTES = 1024**2


@dataclass(frozen=True)
class Stored:
    """One version of an object."""

    version: str
    """Hash of the content, or of the store's tag where something else than a lake wrote it."""
    n_bytes: int
    sha256: str | None
    written: float
    """Seconds since 1970, by the store's clock."""


class Bucket:
    """Objects below `s3://bucket/prefix`; keys are relative to the prefix."""

    def __init__(self, uri: str) -> None:
        """Connect nowhere yet.

        Raises:
            ObjectStoreError: the address names no bucket.
        """
        from boto3.s3.transfer import TransferConfig
        from dagster_aws.s3 import S3Resource

        self.uri = uri.rstrip("/")
        address = urlsplit(self.uri)
        if address.scheme != "s3" or not address.netloc or address.query or address.fragment:
            raise ObjectStoreError(f"{uri}: expected s3://bucket or s3://bucket/prefix")
        self.name = address.netloc
        self._prefix = f"{address.path.strip('/')}/".lstrip("/")
        self._client: Any = S3Resource(max_attempts=ATTEMPTS).get_client()
        self._transfer = TransferConfig(
            multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=4
        )

    def stored(self, key: str) -> Stored | None:
        """What an object is now; None if there is none."""
        with explaining(f"looking for {self.uri}/{key}"):
            try:
                head = self._client.head_object(Bucket=self.name, Key=self._prefix + key)
            except self._client.exceptions.ClientError as error:
                if code_of(error) not in MISSING:
                    raise
                # Without a body the store cannot say whether the object or the bucket is missing.
                self._client.list_objects_v2(Bucket=self.name, Prefix=self._prefix, MaxKeys=1)
                return None
        sha256 = head["Metadata"].get("sha256")
        version = sha256 or hashlib.sha256(head["ETag"].encode()).hexdigest()
        written = head["LastModified"].timestamp()
        return Stored(version[:16], head["ContentLength"], sha256, written)

    def keys(self, folder: str) -> list[str]:
        """All keys that begin with the given text, in the order of their parts."""
        found = [entry["Key"].removeprefix(self._prefix) for entry in self._entries(folder)]
        return sorted(found, key=lambda key: key.split("/"))

    def _entries(self, folder: str) -> list[dict[str, Any]]:
        with explaining(f"listing {self.uri}/{folder}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=self._prefix + folder
            )
            return [entry for page in pages for entry in page.get("Contents", ())]

    def listing(self, folder: str) -> dict[str, Entry]:
        """All objects whose keys begin with the given text."""
        return {
            entry["Key"].removeprefix(self._prefix): Entry(
                entry["Size"], int(entry["LastModified"].timestamp() * 1e9)
            )
            for entry in self._entries(folder)
        }

    def sha256(self, key: str) -> str:
        """Hash of an object's content, as it is read."""
        digest = hashlib.sha256()
        with explaining(f"reading {self.uri}/{key}"):
            answer = self._client.get_object(Bucket=self.name, Key=self._prefix + key)
            for piece in answer["Body"].iter_chunks(PIECE_BYTES):
                digest.update(piece)
        return digest.hexdigest()

    def get(self, key: str) -> bytes | None:
        """A small object's content; None if there is none."""
        from botocore.exceptions import BotoCoreError

        with explaining(f"reading {self.uri}/{key}"):
            for attempt in range(ATTEMPTS):
                try:
                    answer = self._client.get_object(Bucket=self.name, Key=self._prefix + key)
                    content: bytes = answer["Body"].read()
                    return content
                except self._client.exceptions.ClientError as error:
                    if code_of(error) not in MISSING:
                        raise
                    return None
                except BotoCoreError:  # boto3 asks again by itself only until the body begins
                    if attempt == ATTEMPTS - 1:
                        raise
        return None

    def put(self, key: str, content: bytes) -> None:
        """Write a small object with one request."""
        with explaining(f"writing {self.uri}/{key}"):
            self._client.put_object(Bucket=self.name, Key=self._prefix + key, Body=content)

    def create(self, key: str, content: bytes) -> bool:
        """Write a small object unless there is one; whether it was written."""
        with explaining(f"writing {self.uri}/{key}"):
            try:
                self._client.put_object(
                    Bucket=self.name, Key=self._prefix + key, Body=content, IfNoneMatch="*"
                )
            except self._client.exceptions.ClientError as error:
                if code_of(error) not in TAKEN:
                    raise
                return False
        return True

    def upload(self, file: Path, key: str) -> str:
        """Write a file as an object, in one request or in parts that are joined at the end.

        Returns:
            SHA-256 of the content, which the object carries.
        """
        with file.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        with explaining(f"writing {self.uri}/{key}"):
            try:
                self._client.upload_file(
                    str(file), self.name, self._prefix + key,
                    ExtraArgs={"Metadata": {"sha256": sha256}}, Config=self._transfer,
                )  # fmt: skip
            except Exception as error:
                # The parts were joined, nobody heard of it, and the second try found none.
                stored = self.stored(key) if code_of(error) == "NoSuchUpload" else None
                if stored is None or stored.sha256 != sha256:
                    raise
        return sha256

    def download(self, key: str, stored: Stored, target: Path) -> None:
        """Copy an object to a file, which appears whole or not at all.

        Raises:
            AlteredObjectError: it has not the content that it was written with.
            ObjectStoreError: it cannot be had, or it was replaced in the meantime.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            with explaining(f"reading {self.uri}/{key}"):
                self._client.download_file(
                    self.name, self._prefix + key, str(temporary), Config=self._transfer
                )
            with temporary.open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            if self.stored(key) != stored:
                raise ObjectStoreError(
                    f"{self.uri}/{key}: was replaced while it was read; run the step again"
                )
            if stored.sha256 not in (None, sha256):
                raise AlteredObjectError(
                    f"{self.uri}/{key}: has bytes that are not what was written. Run the step "
                    "again; if it says the same, `dasd verify` notes what is damaged, and `dasd "
                    "run` makes it again"
                )
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; one that is not there is no error."""
        todo = [{"Key": self._prefix + key} for key in keys]
        for start in range(0, len(todo), KEYS_AT_ONCE):
            with explaining(f"deleting in {self.uri}"):
                answer = self._client.delete_objects(
                    Bucket=self.name,
                    Delete={"Objects": todo[start : start + KEYS_AT_ONCE], "Quiet": True},
                )
                if refused := answer.get("Errors"):
                    raise self._client.exceptions.ClientError({"Error": refused[0]}, "Delete")

    def path(self, key: str) -> str:
        """Path of an object in `filesystem`."""
        return f"{self.name}/{self._prefix}{key}"

    def filesystem(self) -> S3FileSystem:
        """The store for Arrow, in the bucket's own region; it finds the same credentials."""
        # A second client beside boto3, as neither does both. Through this one Arrow's datasets read
        # the byte ranges of columns in threads of C++, where boto3, wrapped, would do it in Python.
        # But it has no conditional writes, which the owner and the leases are made of, and gives an
        # error's code only inside a text.
        from pyarrow.fs import S3FileSystem

        with explaining(f"looking for {self.uri}"):
            found = self._client.list_objects_v2(Bucket=self.name, Prefix=self._prefix, MaxKeys=1)
        headers = found["ResponseMetadata"]["HTTPHeaders"]
        endpoint = self._client.meta.endpoint_url
        return S3FileSystem(
            region=headers.get("x-amz-bucket-region") or self._client.meta.region_name,
            endpoint_override=None if _is_amazon(endpoint) else endpoint,
        )


def _is_amazon(endpoint: str) -> bool:
    return (urlsplit(endpoint).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))


def make_room(folder: Path, n_bytes: int, unused: Iterator[Path]) -> None:
    """Delete local copies, in the order given, until a file of a size fits beside them.

    Raises:
        ObjectStoreError: it does not fit even without them.
    """
    while shutil.disk_usage(folder).free < n_bytes:
        copy = next(unused, None)
        if copy is None:
            raise ObjectStoreError(
                f"{folder}: {n_bytes:,} bytes are needed for a local copy and "
                f"{shutil.disk_usage(folder).free:,} are free; set DASD_HOME to a larger disk"
            )
        copy.unlink(missing_ok=True)
