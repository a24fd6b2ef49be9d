"""Pytest's options to run only the deployment tests whose code changed, and to note that they pass.

`make test` runs all tests; `.ci/run` leaves out what `unchanged` names (support/deployments.py).
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.deployments import (
    RECORD,
    contents,
    files_of_tests,
    note_verified,
    unchanged,
    uncommitted,
)

ALL, CHANGED, VERIFY = "all", "changed", "verify"
WENT_TO_THE_END = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


def add_options(parser: pytest.Parser) -> None:
    """`--deployments`, which decides over files whose tests are marked as of a deployment."""
    parser.addoption(
        "--deployments", choices=(ALL, CHANGED, VERIFY), default=ALL,
        help=f"of deployment tests: {ALL}; {CHANGED}: those whose code changed since they passed; "
        f"{VERIFY}: the same, no other tests, and note in {RECORD} which passed",
    )  # fmt: skip


class DeploymentTests:
    """Leaves files out as `--deployments` says, and tells which and why."""

    def __init__(self, config: pytest.Config) -> None:
        """Look for what changed, once: the processes of pytest-xdist are told."""
        self._how = config.getoption("--deployments")
        self._root = config.rootpath
        self._is_whole = config.args_source is not pytest.Config.ArgsSource.ARGS and not (
            config.getoption("keyword") or config.getoption("markexpr")
        )
        self._not_passed: set[Path] = set()
        self._passed: dict[str, str] = {}
        self._files = {} if self._how == ALL else files_of_tests(self._root)
        given = getattr(config, "workerinput", {}).get("unchanged")
        self._unchanged: dict[str, str] = given or {}
        self._tried: dict[str, str] = {}
        self._is_worker = hasattr(config, "workerinput")
        if self._how == ALL or self._is_worker:
            return
        if self._how == VERIFY and (changed := uncommitted(self._root)):
            raise pytest.UsageError(
                f"{changed[0]} is not committed: what passes is noted with its commit. Commit first"
            )
        try:
            self._tried = contents(self._root)
            self._unchanged = unchanged(self._root, self._tried)
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
        """What fails or is skipped has not passed."""
        self._look(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Nor has what cannot be imported."""
        self._look(report)

    def _look(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.passed:
            self._not_passed.add(self._root / report.nodeid.partition("::")[0])

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """What was left out, a line for each deployment, and what was noted."""
        for name, commit in self._unchanged.items():
            files = ", ".join(str(file.relative_to(self._root)) for file in self._files[name])
            terminalreporter.write_line(
                f"Left out: {name} ({files}), which passed on {commit}; nothing that its tests "
                "stand on has changed since"
            )
        if self._unchanged:
            terminalreporter.write_line("`make test` and `.ci/run --all` leave nothing out")
        if self._how == VERIFY:
            noted = ", ".join(sorted(self._passed)) or "none"
            terminalreporter.write_line(f"Noted in {RECORD} as passed now: {noted}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Note each deployment of which all tests passed, whatever became of the others."""
        if self._how != VERIFY or self._is_worker:
            return
        left = self._files.keys() - self._unchanged.keys()
        if not left and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = pytest.ExitCode.OK
        if not self._is_whole or exitstatus not in WENT_TO_THE_END:
            return
        now = contents(self._root)
        self._passed = {
            name: now[name]
            for name in left
            if self._not_passed.isdisjoint(self._files[name]) and now[name] == self._tried[name]
        }
        note_verified(self._root, self._passed)
