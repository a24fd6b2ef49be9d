"""A Ray cluster of two nodes on this machine, each with a core, and no GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ray.cluster_utils import Cluster
from support.ports import free_port

from dasd_assets.profile import PROJECT_ROOT

OBJECT_STORE_BYTES = 80_000_000
NODES_ENVIRONMENT = {
    "PYTHONWARNINGS": "ignore",
    "PYTHONPATH": os.pathsep.join([str(PROJECT_ROOT / "tests"), str(PROJECT_ROOT)]),
}
"""What every node has to know, as on machines of their own."""


@contextmanager
def two_nodes(**environment: str) -> Iterator[Cluster]:
    """While it lasts, the cluster is there; its nodes have this environment."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {**NODES_ENVIRONMENT, **environment}.items():
            patched.setenv(name, value)
        cluster = Cluster()
        try:
            add_node(
                cluster, include_dashboard=True, dashboard_host="127.0.0.1",
                dashboard_port=free_port(),
            )  # fmt: skip
            add_node(cluster)
            yield cluster
        finally:
            cluster.shutdown()


def add_node(cluster: Cluster, **options: Any) -> Any:
    """One more node with a core."""
    return cluster.add_node(
        num_cpus=1, num_gpus=0, object_store_memory=OBJECT_STORE_BYTES,
        dashboard_agent_listen_port=free_port(), **options,
    )  # fmt: skip
