"""The real Dagster daemon in a process of its own, looking for work each second instead of 30."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from dasd_assets.profile import PROJECT_ROOT

PROGRAM = """
from dasd_assets.dagster_internals import run_daemon
from dasd_assets.running import local_run
local_run.PRELOADED = "support.preloaded_for_dagster"
run_daemon(1)
"""


class Daemon:
    """One daemon over an instance with a dagster.yaml of the project."""

    def __init__(
        self, home: Path, module: str, environment: Mapping[str, str], deployment: str = "local"
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        file = PROJECT_ROOT / "deploy" / deployment / "dagster.yaml"
        shipped = file.read_text(encoding="utf-8")
        settings = yaml.safe_load(shipped)
        settings.setdefault("run_queue", {})["dequeue_interval_seconds"] = 1
        settings["run_monitoring"] |= {
            "poll_interval_seconds": 2, "free_slots_after_run_end_seconds": 2,
        }  # fmt: skip
        (home / "dagster.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        self.home = home
        self._module = module
        self._environment = {
            **os.environ, **environment, "DAGSTER_HOME": str(home),
            "PYTHONPATH": os.pathsep.join([str(PROJECT_ROOT / "tests"), str(PROJECT_ROOT)]),
            "PYTHONWARNINGS": "ignore",
            "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR": "1",  # as in deploy/systemd
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.home / "daemon.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, "run", "-m", self._module],
                env=self._environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def revived(self, true: Callable[[], bool]) -> Callable[[], bool]:
        """The same question, starting the daemon again whenever it has ended, as systemd would."""

        def ask() -> bool:
            if self._process is not None and self._process.poll() is not None:
                self.start()
            return true()

        return ask

    def kill(self, signal_number: int = signal.SIGKILL) -> None:
        """End the daemon with its code server and the runs that it started."""
        if self._process is None:
            return
        os.killpg(self._process.pid, signal_number)
        self._process.wait()
        self._process = None

    @property
    def log(self) -> str:
        return (self.home / "daemon.log").read_text(encoding="utf-8")


def until(true: Callable[[], bool], seconds: float = 300) -> None:
    """Wait for something that the daemon does."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.2)
