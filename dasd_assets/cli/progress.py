"""Live progress of a local run: what the steps log, as they log it, and the memory in use."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

import dagster as dg
import psutil
import typer

from dasd_assets.cli.instance_errors import instance_problem
from dasd_assets.running.local_runner import INVOCATION_TAG

if TYPE_CHECKING:
    from dasd_assets.running.local_runner import Outcome

SECONDS_BETWEEN_LOOKS = 1.0
LOOKS_BETWEEN_WEIGHINGS = 5
"""The kernel counts all pages of all processes for one, which takes it a tenth of a second."""
PARTITION_TAG = "dagster/partition"


class ProgressPrinter:
    """Prints progress lines of the runs of one invocation from the instance's event log."""

    def __init__(self, instance: dg.DagsterInstance, invocation: str, started: float) -> None:
        self._instance = instance
        self._invocation = invocation
        self._started = started
        self._cursors: dict[str, str | None] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self.peak_bytes = 0

    def __enter__(self) -> ProgressPrinter:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def on_end(self, outcome: Outcome) -> None:
        """Print that a run has ended."""
        mark = "failed" if outcome.errors else "done"
        self._print(f"{outcome.work}: {mark}")

    def _follow(self) -> None:
        """Print until the end, or until Dagster's records fail: of that the runner tells itself."""
        try:
            self._look_again_and_again()
        except Exception as error:
            if not instance_problem(error):
                raise

    def _look_again_and_again(self) -> None:
        for look in itertools.count():
            if self._done.wait(SECONDS_BETWEEN_LOOKS):
                break
            if look % LOOKS_BETWEEN_WEIGHINGS == 0:
                self.peak_bytes = max(self.peak_bytes, _memory_of_process_tree())
            runs = self._instance.get_runs(
                dg.RunsFilter(
                    tags={INVOCATION_TAG: self._invocation},
                    statuses=[dg.DagsterRunStatus.STARTED],
                )
            )
            for run in runs:
                self._print_news(run)

    def _print_news(self, run: dg.DagsterRun) -> None:
        news = self._instance.get_records_for_run(run.run_id, self._cursors.get(run.run_id))
        self._cursors[run.run_id] = news.cursor
        partition = run.tags.get(PARTITION_TAG)
        where = f" [{partition}]" if partition else ""
        for record in news.records:
            entry = record.event_log_entry
            if not entry.is_dagster_event and entry.user_message.startswith("progress: "):
                step = (entry.step_key or "").replace("__", "/")
                self._print(f"{step}{where}: {entry.user_message.removeprefix('progress: ')}")

    def _print(self, line: str) -> None:
        typer.echo(f"[{time.monotonic() - self._started:4.0f} s] {line}")


def _memory_of_process_tree() -> int:
    """Bytes held by this process and all below it; pages that they share count once."""
    this = psutil.Process()
    total = 0
    for process in [this, *this.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total
