"""The process of one run of `dasd run`: what kills it ends that run, and no other."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dagster as dg

from dasd_assets.running import local_run
from dasd_assets.running.run_errors import killed_by
from resources.compute.parent_process import end_with_parent

LOADED = ("dasd_assets.running.loaded_definitions",)
"""What the processes have imported before they start."""
LOST = 255
"""Exit code that multiprocessing tells when the process that it forks from is gone."""


def start(instance: dg.DagsterInstance, run: dg.DagsterRun, log_file: Path) -> BaseProcess:
    """Execute a run in a process that ends with this one.

    Args:
        log_file: gets what the run and its steps print; their own logs are in the instance.
    """
    arguments = (instance.get_ref(), run.run_id, log_file)
    process = local_run.forking(*LOADED).Process(target=_execute, args=arguments)
    process.start()
    return process


def how_it_ended(process: BaseProcess, log_file: Path) -> str:
    """Why a process ended before its run did, for a person."""
    process.join()
    code = process.exitcode
    if code == LOST:
        how = "ended with the one that it was forked from"
    elif code is not None and code < 0:
        how = killed_by(-code)
    else:
        how = f"ended with exit code {code} before the run did; {log_file} says why"
    return f"its process {how}; what it had finished is kept"


def _execute(instance: Any, run_id: str, log_file: Path) -> None:
    with log_file.open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    # Else the command would take it for ended when the process that it is forked from is killed.
    end_with_parent(os.getppid())
    local_run.end_steps_with_this_process()
    threading.Thread(target=_end_with_the_command, daemon=True).start()
    local_run.execute(instance, run_id)


def _end_with_the_command() -> None:
    command = multiprocessing.parent_process()
    assert command is not None
    command.join()
    os._exit(1)
