"""How the tests are shared out to processes, where they write, and the finished pipeline."""

from __future__ import annotations

import atexit
import gc
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.deployment_hooks import DeploymentTests, add_options
from support.scratch import memory_disk

if TYPE_CHECKING:
    from support.finished_pipeline import Finished

LONGEST = (
    "test_pipeline", "vllm", "test_formats", "test_smollm2", "test_killed_pipeline",
    "test_postgres", "test_ablation",
)  # fmt: skip
SHARED = {
    "contract_engine": "vllm", "vllm_server": "vllm", "two_ranks": "vllm", "page": "browser",
    "released": "release", "_server": "object_store",
}  # fmt: skip
"""Expensive fixture of several modules -> the group of the tests that share it, or an import."""
SLOW = re.compile(r"^pytestmark = \[?pytest\.mark\.slow", re.MULTILINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--quick`: what `make test-quick` runs; the other two are support/deployment_hooks.py's."""
    parser.addoption("--quick", action="store_true", help="leave out modules marked as slow")
    add_options(parser)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A slow module is not even imported: that alone would take longer than the quick ones."""
    if not config.getoption("--quick") or not collection_path.name.startswith("test_"):
        return None
    return bool(SLOW.search(collection_path.read_text(encoding="utf-8"))) or None


def pytest_configure(config: pytest.Config) -> None:
    """Temporary folders lie in memory where there is room: a test waits for no disk."""
    if memory := memory_disk():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))
    config.pluginmanager.register(DeploymentTests(config))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """The garbage collector would look through all that is imported, over and over, and in tests.

    That is half of the time that collecting takes.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(gc.unfreeze)  # else triton takes at the end what is frozen for leaked


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests that share an expensive fixture run in the same process, in their order.

    The longest groups come first: one that is left over at the end has a core to itself and the
    other idle.
    """
    groups = {item: _group(item) for item in items}
    for item, group in groups.items():
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(group))
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(Path(groups[item]).stem, len(order)))


def _group(item: pytest.Item) -> str:
    chosen = item.get_closest_marker("xdist_group")
    if chosen is not None:
        return str(chosen.args[0])
    fixtures = set(getattr(item, "fixturenames", ()))
    shared = (group for fixture, group in SHARED.items() if fixture in fixtures)
    return next(shared, str(item.path))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A copy of the finished pipeline, and what its `dasd run` printed; inbox and profile stay."""
    # Here, so that of all tests only those stand on the whole product that ask for it.
    from support.finished_pipeline import copy_of_finished

    return copy_of_finished(tmp_path_factory.mktemp("finished") / "home")
