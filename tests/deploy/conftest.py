"""PostgreSQL servers, and an object store for the output of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.object_store import ENVIRONMENT, ObjectStore
from support.postgres import LOGS_BUCKET, PostgresServer

Use = Callable[[PostgresServer], dict[str, str]]


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    store = ObjectStore()
    store.client().create_bucket(Bucket=LOGS_BUCKET)
    yield store
    store.close()


@pytest.fixture
def use(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Use:
    """Sets and returns what the dagster.yaml reads, for a server."""

    def set_environment(server: PostgresServer) -> dict[str, str]:
        variables = {
            **server.environment, **ENVIRONMENT, "AWS_ENDPOINT_URL": store.url,
            "DAGSTER_LOGS_BUCKET": LOGS_BUCKET, "DAGSTER_LOGS_PREFIX": "logs",
            "GPU_LOCATION_IN_PROCESS": "1",
        }  # fmt: skip
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return variables

    return set_environment


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.close()
