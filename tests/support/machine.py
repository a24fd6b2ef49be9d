"""An instance with a daemon over a code location whose steps hold pretended GPUs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from support.daemon import Daemon, until
from support.gpu_location import defs

from dasd_assets.dagster_internals import graph_view, start_backfill, subset_of
from dasd_assets.declaring.pools import set_pool_limits

GPUS = 3
SAMPLED, SCORED = dg.AssetKey("sampled"), dg.AssetKey("scored")
DONE = ("COMPLETED_SUCCESS", "COMPLETED_FAILED", "CANCELED", "FAILED")


class Machine:
    """On a machine with some pretended GPUs; the daemon is not started yet."""

    def __init__(
        self, folder: Path, shards: list[str], deployment: str = "local",
        environment: Mapping[str, str] | None = None, gpus: int = GPUS,
    ) -> None:  # fmt: skip
        self.folder = folder
        named = {
            "GPU_LOCATION": str(folder), "DASD_GPUS": str(gpus),
            "DASD_GPU_LOCKS": str(folder / "locks"), **(environment or {}),
        }  # fmt: skip
        self.daemon = Daemon(folder / "home", "support.gpu_location", named, deployment)
        self.instance = dg.DagsterInstance.from_config(str(folder / "home"))
        self.instance.add_dynamic_partitions("question_shard", shards)
        set_pool_limits(self.instance, defs, gpus)

    def backfill(self, assets: list[dg.AssetKey], partitions: list[str]) -> str:
        view = graph_view(defs.resolve_asset_graph(), self.instance)
        subsets = [subset_of(view, asset, partitions) for asset in assets]
        return start_backfill(self.instance, subsets, "of a test", "", {})

    def status(self, backfill_id: str) -> str:
        backfill = self.instance.get_backfill(backfill_id)
        assert backfill is not None
        return backfill.status.value

    def wait_for(self, backfill_id: str) -> str:
        until(lambda: self.status(backfill_id) in DONE)
        return self.status(backfill_id)

    def held(self) -> list[dict[str, Any]]:
        """Who held GPUs from when to when, so far."""
        file = self.folder / "held.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    def made(self) -> Counter[tuple[str, str]]:
        """(asset, partition) -> how often its step ran."""
        return Counter((line["asset"], line["partition"]) for line in self.held())

    def most_in_use(self) -> int:
        """GPUs in use at the same time, at most."""
        changes = [(line["start"], line["gpus"]) for line in self.held()]
        changes += [(line["end"], -line["gpus"]) for line in self.held()]
        in_use = most = 0
        for _, change in sorted(changes):
            in_use += change
            most = max(most, in_use)
        return most

    def used_twice(self) -> list[tuple[str, float]]:
        """(GPU, when) of each step that used one while another did."""
        free_from: dict[str, float] = {}
        twice = []
        for line in sorted(self.held(), key=lambda line: line["start"]):
            for gpu in line["devices"]:
                if line["start"] < free_from.get(gpu, 0.0):
                    twice.append((gpu, line["start"]))
                free_from[gpu] = max(line["end"], free_from.get(gpu, 0.0))
        return twice


def cells(shards: list[str], *temperatures: str) -> list[str]:
    return [f"{shard}|{temperature}" for shard in shards for temperature in temperatures]
