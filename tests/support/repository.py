"""A run in this process has no repository: what assets ask one for, given to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import patch

import dagster as dg

from dasd_assets.dagster_internals import AssetGraph


@contextmanager
def repository_with(graph: AssetGraph) -> Iterator[None]:
    """Runs in this process know this graph."""
    repository = property(lambda context: SimpleNamespace(asset_graph=graph))
    with patch.object(dg.AssetExecutionContext, "repository_def", repository):
        yield
