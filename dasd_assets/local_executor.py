"""Steps as processes of this machine that are forked with their libraries already imported.

A step is a process of its own, so that what it held of a GPU is free when it ends. Started from
nothing, each would spend about five seconds on imports (benchmarks/backfill.py).
"""

from __future__ import annotations

from typing import Any

import dagster as dg

PRELOADED = (
    "dasd_assets.definitions", "dagster._utils.test", "torch", "transformers",
    "great_expectations.expectations", "duckdb",
)  # fmt: skip
"""Imported once a run, in the process that its steps are forked from; it never uses a GPU."""


def _forked(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"start_method": {"forkserver": {"preload_modules": list(PRELOADED)}}}


local_executor = dg.multiprocess_executor.configured(
    _forked,
    config_schema={
        "max_concurrent": dg.Field(
            int,
            default_value=0,
            description="Steps of one run that are executed side by side; 0: one for each CPU "
            "core. Pools limit besides how many of all runs share a GPU.",
        )
    },
    name="multiprocess",
)
