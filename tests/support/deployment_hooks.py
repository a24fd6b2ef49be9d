"""Pytest's options to run only the deployment tests whose code changed, and to note that they pass.

`make test` runs all tests; `.ci/run` leaves out what `unchanged` names (support/deployments.py).
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.deployments import files_of_tests, note_verified, unchanged, uncommitted

ALL, CHANGED, VERIFY = "all", "changed", "verify"


def add_options(parser: pytest.Parser) -> None:
    """`--deployments`, which decides over files whose tests are marked as of a deployment."""
    parser.addoption(
        "--deployments", choices=(ALL, CHANGED, VERIFY), default=ALL,
        help=f"of deployment tests: {ALL}; {CHANGED}: those whose code changed since they passed; "
        f"{VERIFY}: the same, no other tests, and note in tests/deployment_verified.txt that they "
        "passed",
    )  # fmt: skip


class DeploymentTests:
    """Leaves files out as `--deployments` says, and tells which and why."""

    def __init__(self, config: pytest.Config) -> None:
        """Look for what changed, once: the processes of pytest-xdist are told."""
        self._how = config.getoption("--deployments")
        self._root = config.rootpath
        self._is_whole = config.args_source is not pytest.Config.ArgsSource.ARGS
        self._skipped = False
        self._files = {} if self._how == ALL else files_of_tests(self._root)
        given = getattr(config, "workerinput", {}).get("unchanged")
        self._unchanged: dict[str, str] = given or {}
        self._is_worker = hasattr(config, "workerinput")
        if self._how == ALL or self._is_worker:
            return
        if self._how == VERIFY and (changed := uncommitted(self._root)):
            raise pytest.UsageError(
                f"{changed[0]} is not committed: what passes is noted with its commit. Commit first"
            )
        try:
            self._unchanged = unchanged(self._root)
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            if self._how == VERIFY:
                raise pytest.UsageError(f"git does not say what is here: {error}") from error

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a process of pytest-xdist."""
        node.workerinput["unchanged"] = self._unchanged

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Leave out a file; it is not even imported."""
        if self._how == ALL or not collection_path.name.startswith("test_"):
            return None
        of = [name for name, files in self._files.items() if collection_path in files]
        leave_out = bool(of) and all(name in self._unchanged for name in of)
        return (leave_out or (self._how == VERIFY and not of)) or None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """What is skipped has not passed."""
        self._skipped |= report.skipped

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """One line for what was left out."""
        if self._unchanged:
            since = ", ".join(f"{name} (since {at})" for name, at in self._unchanged.items())
            terminalreporter.write_line(
                f"Deployment tests left out, all they stand on being as when they passed: {since}"
            )

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Note what passed, if all of it did."""
        if self._how != VERIFY or self._is_worker or exitstatus or self._skipped:
            return
        if self._is_whole:
            note_verified(self._root, self._files.keys() - self._unchanged.keys())
