"""Slots of the pools that the assets' compute names, set on the instance of one machine."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from resources.compute.declared import gpus_here
from resources.compute.gpus import gpus_present, pool_limits

CURATION_POOL = "question_curation"
"""Of one slot, so that curations wait in Dagster's queue and not in a step that has begun; what
holds them apart is the lake (`Lake.exclusively`)."""


def asked_of_pools(assets: Iterable[dg.AssetsDefinition]) -> dict[str, int]:
    """Pool -> GPUs of this machine that the largest step that waits for it holds."""
    asked: dict[str, int] = {}
    for asset in assets:
        for spec in asset.specs:
            if asset.op.pool is not None:
                gpus = gpus_here(spec.metadata)
                asked[asset.op.pool] = max(gpus, asked.get(asset.op.pool, 0))
    return asked


def set_pool_limits(
    instance: dg.DagsterInstance, definitions: dg.Definitions, gpus: int | None = None
) -> dict[str, int]:
    """Set the pools with GPUs to what this machine has; the limits that were set.

    Other pools keep what `dagster instance concurrency set` or dagster.yaml's default says. On a
    machine without a GPU nothing is set: it may be one that only starts steps elsewhere.

    Args:
        gpus: GPUs of the machine; None: those that are found or declared.

    Raises:
        TooFewGpusError: one step asks for more than it has.
    """
    present = gpus_present() if gpus is None else gpus
    if not present:
        return {}
    assets = (one for one in definitions.assets or [] if isinstance(one, dg.AssetsDefinition))
    limits = pool_limits(asked_of_pools(assets), present)
    for pool, slots in limits.items():
        instance.event_log_storage.set_concurrency_slots(pool, slots)
    return limits


def take_turns(asked: Iterable[tuple[str, int]], gpus: int) -> bool:
    """Whether pools cannot have one step each on the GPUs at a time, so that models are swapped.

    Args:
        asked: pool and GPUs of steps.
        gpus: that there are; 0: none is known, and nothing is swapped.
    """
    of_pools: dict[str, int] = {}
    for pool, n in asked:
        if n:
            of_pools[pool] = max(n, of_pools.get(pool, 0))
    return 0 < gpus < sum(of_pools.values()) and len(of_pools) > 1
