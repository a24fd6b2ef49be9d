"""Steps in processes of their own, a few at a time, each when those that it needs are done."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from pathlib import Path

from tools.ablation.steps import Step


class StepFailedError(RuntimeError):
    """Steps that ended without a result; the message names them and where their output is."""


def run_side_by_side(
    steps: Sequence[Step],
    do: Callable[[Step], None],
    processes: ForkServerContext,
    *,
    done: set[tuple[int, str]],
    workers: int,
    logs: Path,
    on_done: Callable[[Step], None],
) -> None:
    """Do the steps, earlier ones first.

    Args:
        do: what a process does; has to be picklable.
        processes: starts them, with what they import already imported.
        done: (seed, name) of steps that need not be done.
        logs: folder; what a step prints goes to `seed-<seed>-<name>.log`.
        on_done: called in this process after each step.

    Raises:
        StepFailedError: a step failed; all that do not need it are done nevertheless.
    """
    logs.mkdir(parents=True, exist_ok=True)
    waiting = [step for step in steps if (step.seed, step.name) not in done]
    done = set(done)
    failed: list[Step] = []
    running: dict[Future[int | None], Step] = {}

    def in_own_process(step: Step) -> int | None:
        process = processes.Process(target=_logged, args=(do, step, _log(logs, step)))
        process.start()
        process.join()
        return process.exitcode

    with _one_thread_each(), ThreadPoolExecutor(workers) as threads:
        while True:
            for step in list(waiting):
                is_ready = all((step.seed, name) in done for name in step.needs)
                if is_ready and len(running) < workers:
                    waiting.remove(step)
                    running[threads.submit(in_own_process, step)] = step
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                step = running.pop(future)
                if future.result() == 0:
                    done.add((step.seed, step.name))
                    on_done(step)
                else:
                    failed.append(step)
    if failed:
        raise StepFailedError(
            "\n".join(
                f"seed {step.seed}, {step.name}: failed; its output is in {_log(logs, step)}"
                for step in failed
            )
        )


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """New processes import torch with one thread: two such trainings beat one with two threads."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


def _log(logs: Path, step: Step) -> Path:
    return logs / f"seed-{step.seed}-{step.name}.log"


def _logged(do: Callable[[Step], None], step: Step, log: Path) -> None:
    """In the new process: what it prints, and its traceback, go into the log."""
    with log.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    do(step)
