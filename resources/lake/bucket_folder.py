"""The folder that a machine keeps for a lake in a bucket: copies, scratch, journals.

A file in it names the bucket, so that whoever has the folder finds the lake.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Final

from resources.lake.bucket_errors import ObjectStoreError

SCHEME: Final = "s3://"
BUCKET_FILE: Final = "bucket.json"


def folder_of(uri: str, home: Path) -> Path:
    """Make, below a data folder, the folder of a bucket and prefix.

    Raises:
        ObjectStoreError: the address names no bucket, or the folder cannot be made.
    """
    parts = uri.removeprefix(SCHEME).rstrip("/").split("/")
    if not uri.startswith(SCHEME) or any(part in ("", ".", "..") for part in parts):
        raise ObjectStoreError(f"{uri}: expected s3://bucket or s3://bucket/prefix")
    folder = Path(home, "s3", *parts, "lake")
    file = folder / BUCKET_FILE
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{uuid.uuid4().hex}.tmp")
        temporary.write_text(json.dumps({"uri": uri.rstrip("/")}), encoding="utf-8")
        temporary.replace(file)
    return folder


def bucket_of(folder: Path) -> str | None:
    """Address of the bucket that a folder is kept for; None of a lake that is a folder."""
    file = folder / BUCKET_FILE
    return json.loads(file.read_text(encoding="utf-8"))["uri"] if file.is_file() else None


def written_at(folder: Path, name: str) -> float | None:
    """When a file of a lake was written, in seconds since 1970; None if there is none.

    Args:
        folder: the lake, or the folder that is kept for its bucket.
        name: the file's path in the lake.
    """
    if uri := bucket_of(folder):
        from resources.lake.bucket import Bucket

        stored = Bucket(uri).stored(name)
        return stored.written if stored else None
    file = folder / name
    return file.stat().st_mtime if file.is_file() else None


def content_of(folder: Path, name: str) -> bytes:
    """A small file of a lake, which has to be there."""
    if uri := bucket_of(folder):
        from resources.lake.bucket import Bucket

        return Bucket(uri).get(name) or b""
    return (folder / name).read_bytes()
