"""One S3 server for all tests here, a bucket for each."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.object_store import ENVIRONMENT, ObjectStore

from resources.lake.bucket_folder import folder_of
from resources.lake.bucket_lake import BucketLake


@pytest.fixture(scope="session")
def _server() -> Iterator[ObjectStore]:
    server = ObjectStore()
    yield server
    server.close()


@pytest.fixture
def store(_server: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ObjectStore:
    """The server, and an environment that leads to it; pauses between tries are short."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", _server.url)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setattr(
        "botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0.01
    )
    return _server


@pytest.fixture
def bucket(store: ObjectStore) -> str:
    """Name of a new, empty bucket."""
    name = f"lake-{uuid.uuid4().hex[:12]}"
    store.client().create_bucket(Bucket=name)
    return name


@pytest.fixture
def machine(bucket: str, tmp_path: Path) -> Callable[..., BucketLake]:
    """Make the lake as a machine with an empty disk sees it."""

    def make(name: str = "one", owner: str = "us") -> BucketLake:
        uri = f"s3://{bucket}/some/prefix"
        return BucketLake(root=str(folder_of(uri, tmp_path / name)), uri=uri, owner=owner)

    return make
