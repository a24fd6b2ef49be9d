"""All that this project takes from inside Dagster: mend it here when a release moves something.

What Dagster documents (`dagster as dg`) is used where it is needed. Behind an underscore Dagster
promises nothing from one release to the next, so only this package imports from there (ruff:
TID251) and says for each name why what is documented does not do. Here that is functions in our
words; `Any` stands for Dagster's own undocumented classes. `make newest-dagster` tries this package
against the newest release that pyproject.toml allows.
"""

import dagster as dg

from dasd_assets.dagster_internals.release import DagsterReleaseError, declared, require_release

# Before what is below is imported: there, another release may fail with words that help nobody.
require_release(dg.__version__, declared())

from dasd_assets.dagster_internals.checks import (
    CheckOutcome,
    CheckStatus,
    check_outcomes,
    evaluations,
)
from dasd_assets.dagster_internals.records import DATA_VERSION_TAG, LatestEvents
from dasd_assets.dagster_internals.runs import (
    GRPC_INFO_TAG,
    IMPORTED_BY_A_RUN,
    capture_interrupts,
    checks_of_job,
    engine_event,
    execute_run,
    health_of_worker,
    is_code_of_this_environment,
    job_of_file,
    job_of_module,
    job_of_run,
    monitor_run,
    origin_in_ui,
    run_daemon,
    start_backfill,
    step_failed,
    steps_started_by,
)
from dasd_assets.dagster_internals.views import (
    AssetGraph,
    CachingStaleStatusResolver,
    GraphView,
    Subset,
    graph_view,
    keys_of,
    on_its_way,
    stale_resolver,
    subset_of,
)

__all__ = [
    "DATA_VERSION_TAG", "GRPC_INFO_TAG", "IMPORTED_BY_A_RUN", "AssetGraph",
    "CachingStaleStatusResolver", "CheckOutcome", "CheckStatus", "DagsterReleaseError", "GraphView",
    "LatestEvents", "Subset", "capture_interrupts", "check_outcomes", "checks_of_job",
    "engine_event", "evaluations", "execute_run",
    "graph_view", "health_of_worker", "is_code_of_this_environment", "job_of_file",
    "job_of_module", "job_of_run", "keys_of", "monitor_run", "on_its_way", "origin_in_ui",
    "require_release", "run_daemon", "stale_resolver", "start_backfill", "step_failed",
    "steps_started_by", "subset_of",
]  # fmt: skip
