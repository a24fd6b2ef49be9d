"""Steps as processes of this machine that are forked with their libraries already imported.

A step is a process of its own, so that what it held of a GPU is free when it ends. Started from
nothing, each would spend about five seconds on imports (benchmarks/backfill.py).
"""

from __future__ import annotations

from typing import Any

import dagster as dg

from dasd_assets.running import local_run


@dg.executor(
    name="multiprocess",
    config_schema={
        "max_concurrent": dg.Field(
            int,
            default_value=0,
            description="Steps of one run that are executed side by side; 0: one for each CPU "
            "core. Pools limit besides how many of all runs share a GPU.",
        )
    },
    requirements=dg.multiple_process_executor_requirements(),
)
def local_executor(init_context: dg.InitExecutorContext) -> Any:
    """Steps are forked from the run's process, or else from a server that the process keeps."""
    preload = ["dasd_assets.definitions", local_run.PRELOADED]
    config = {
        "max_concurrent": init_context.executor_config["max_concurrent"],
        "retries": {"enabled": {}},
        # "fork" is left out of what a user may configure there, because of threads.
        "start_method": (
            {"fork": {}} if local_run.is_forked() else {"forkserver": {"preload_modules": preload}}
        ),
    }
    create = dg.multiprocess_executor.executor_creation_fn
    assert create is not None
    return create(init_context._replace(executor_config=config))
