"""Runs of Dagster in processes of this machine, forked from one that has the libraries imported.

Dagster's own launcher has the code server start a Python for each run, and that one another to fork
the steps from: some 20 seconds of CPU before the first step (benchmarks/backfill.py). A run takes
the profile as it then is, and the project's modules: "Reload definitions" means the runs as well.
"""

from __future__ import annotations

import multiprocessing
import os
from contextlib import suppress
from multiprocessing.context import ForkServerContext
from typing import Any

import dagster as dg

from dasd_assets.dagster_internals import (
    IMPORTED_BY_A_RUN,
    capture_interrupts,
    engine_event,
    execute_run,
    job_of_run,
)
from dasd_assets.running.changed_modules import ModuleFiles
from dasd_assets.running.process_identity import this_process
from resources.compute.parent_process import end_with_parent

LIBRARIES = (
    *IMPORTED_BY_A_RUN, "accelerate", "duckdb",
    "matplotlib.backends.backend_agg", "matplotlib.figure",
    "markdown_it", "openai_harmony", "pyarrow.dataset", "pyarrow.parquet", "sympy", "torch",
    "transformers.generation.utils", "transformers.models.qwen3.modeling_qwen3",
)  # fmt: skip
"""What runs and steps have imported before they start. Uses no GPU, starts no thread of Python."""
PRELOADED = "dasd_assets.running.preloaded"
"""The module that imports them."""
PACKAGES = ("checks", "dasd_assets", "formats", "resources", "training")
"""The project's own, imported besides."""

_modules = ModuleFiles(PACKAGES)
"""As they are before the graph and the boxes are imported."""
_imported_by = os.getpid()


def is_forked() -> bool:
    """Whether this process was forked from one with the libraries, and so can fork its steps.

    It has none of the threads that the server of a UI or the process of a command has, and which
    a fork would break.
    """
    return os.getpid() != _imported_by


def forking(*modules: str) -> ForkServerContext:
    """Starts processes by forking one that this process keeps, with the libraries imported.

    Args:
        modules: what it has imported besides; the first call of a process decides.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, PRELOADED, "dasd_assets.graph", *modules])
    return context


def start(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Start the process of a run. It goes on if this process ends."""
    starter = forking().Process(target=_leave, args=(instance.get_ref(), run.run_id))
    starter.start()
    starter.join()


def _leave(instance: Any, run_id: str) -> None:
    # multiprocessing waits at its end for the processes it started, but not for theirs.
    if os.fork() == 0:
        end_steps_with_this_process()
        _modules.forget_changed(but=__name__)
        execute(instance, run_id)


def end_steps_with_this_process() -> None:
    """Have the kernel kill the processes that this one forks from now on when it is gone.

    Else a step of a killed run would wait for ever, at its end, for somebody to read its events,
    and keep its GPUs.
    """
    run = os.getpid()
    forked_by_the_run = True  # and not by a step in its turn, maybe from a thread that ends

    def die_with_the_run() -> None:
        nonlocal forked_by_the_run
        if forked_by_the_run:
            forked_by_the_run = False
            end_with_parent(run)

    os.register_at_fork(after_in_child=die_with_the_run)


def execute(ref: Any, run_id: str) -> None:
    """Execute a run in this process; what becomes of it is in Dagster's records."""
    with capture_interrupts(), dg.DagsterInstance.from_ref(ref) as instance:
        run = instance.get_run_by_id(run_id)
        if run is None or (job := job_of_run(run)) is None:
            raise LookupError(f"Dagster's records have no run {run_id}, or not where its code is")
        note_process(instance, run)
        run = instance.get_run_by_id(run_id) or run
        if run.status == dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run)
            return
        # What goes wrong is in the run's events before it is raised.
        with suppress(Exception, dg.DagsterExecutionInterruptedError):
            execute_run(job, run, instance)


def note_process(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Note in Dagster's records that this process executes a run."""
    process = this_process()
    message = f"Started process {process.pid} on {process.host} for run."
    instance.report_dagster_event(engine_event(run, message, process.as_texts()), run.run_id)
