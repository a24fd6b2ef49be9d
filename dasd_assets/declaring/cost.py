"""What a materialization took: tokens, time, and the declared compute that it held meanwhile."""

from __future__ import annotations

import time
from typing import Any, Final

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.declaring.own_memory import peak_own_bytes
from dasd_assets.profile import Profile
from resources.compute.declared import CPUS, GPUS
from resources.compute.gpu_lease import seconds_waited
from resources.lake.lake import Lake, Partition
from resources.lake.tables import TABLES

PRICE_PER_GPU_HOUR: Final = "compute/price_per_gpu_hour"


def tokens_of(lake: Lake, table: str, partition: Partition | None) -> int | None:
    """Tokens of one partition, read a row group at a time; None if the rows have none."""
    column = TABLES[table].token_column
    if column is None:
        return None
    counted = 0
    for batch in lake.batches(table, partition, [column]):
        values = batch.column(0)
        lengths = pc.list_value_length(values) if pa.types.is_list(values.type) else values
        counted += pc.sum(lengths).as_py() or 0
    return counted


def took(table: str | None = None, n_tokens: int | None = None) -> dict[str, Any]:
    """Metadata about what the step that is running has taken up to now.

    Seconds are the step's time on the clock without its wait for GPUs that other steps held, which
    has a figure of its own: how long others worked says nothing about this step. GPU- and
    core-hours are these seconds x what its asset declares, as that is what a machine is held for;
    money is GPU-hours x the profile's price, where it has one. Peak memory is what the step's
    process had for itself (`peak_own_bytes`), without the processes it started, to be held against
    what is declared; it is left out where the kernel does not tell it.

    Args:
        table: main table, if the asset has one.
        n_tokens: tokens that were made or worked on, if any.
    """
    context = dg.AssetExecutionContext.get()
    execution = context.get_step_execution_context()
    stats = context.instance.get_run_step_stats(context.run.run_id, [execution.step.key])
    declared = context.assets_def.metadata_by_key[context.assets_def.key]
    metadata: dict[str, Any] = {} if n_tokens is None else {"n_tokens": n_tokens}
    # What a model's rate was is known already; told here, it is shown beside the tokens.
    metadata |= execution.get_asset_metadata(context.assets_def.key) or {}
    if not stats or stats[0].start_time is None:
        return metadata
    began = stats[0].start_time
    waited = seconds_waited(since=began)
    seconds = time.time() - began - (waited or 0.0)
    if n_tokens is not None and table is not None and not TABLES[table].is_by_a_model:
        metadata["tokens_per_second"] = round(n_tokens / seconds, 1)
    metadata["cost/seconds"] = round(seconds, 3)
    gpu_hours = declared.get(GPUS, 0) * seconds / 3_600
    metadata["cost/gpu_hours"] = _readable(gpu_hours)
    metadata["cost/core_hours"] = _readable(declared.get(CPUS, 0.0) * seconds / 3_600)
    if waited is not None:
        metadata["cost/waited_for_gpu_seconds"] = round(waited, 3)
    if (peak := peak_own_bytes()) is not None:
        metadata["cost/peak_memory_gib"] = _readable(peak / 1024**3)
    if PRICE_PER_GPU_HOUR in declared:
        metadata["cost/money"] = _readable(gpu_hours * declared[PRICE_PER_GPU_HOUR])
    return metadata


def _readable(value: float) -> float:
    """The number with four significant digits: more are noise in what a clock measured."""
    return float(f"{value:.4g}")


def with_prices(asset: dg.AssetsDefinition, profile: Profile) -> dg.AssetsDefinition:
    """The asset with the profile's price of the GPUs that it declares."""
    price = profile.plan.price_per_gpu_hour

    def priced(spec: dg.AssetSpec) -> dg.AssetSpec:
        if price is None or not spec.metadata[GPUS]:
            return spec
        return spec.merge_attributes(metadata={PRICE_PER_GPU_HOUR: price})

    return asset.map_asset_specs(priced)
