"""The whole graph in one process: every asset, without its checks and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from matplotlib.layout_engine import ConstrainedLayoutEngine
from support.repository import repository_with

from dasd_assets.graph import build_definitions
from dasd_assets.profile import Profile
from dasd_assets.reporting import examples, figures
from resources.compute.training_launcher import TrainingLauncher, TrainingResult
from training.sft import SftConfig, train

STAGE_REPORT = dg.AssetKey("stage_report")
"""It shows a whole history, which there is none of here."""


class InThisProcess(TrainingLauncher):
    """The same program without a process of its own, which takes ten seconds to start."""

    def run(
        self, context: dg.AssetExecutionContext, config: dict[str, Any], output_dir: Path
    ) -> TrainingResult:
        """Train, and read what it left."""
        train(SftConfig(**config, output_dir=str(output_dir)), self.on_line)
        log = (output_dir / "training_log.jsonl").read_text(encoding="utf-8").splitlines()
        certificate = json.loads((output_dir / "certificate.json").read_text(encoding="utf-8"))
        return TrainingResult([json.loads(line) for line in log], certificate)

    def on_line(self, line: str) -> None:
        """What the program says as it goes on is for a person."""


def run_whole_graph(
    profile: Profile,
    home: Path,
    shard: str,
    monkeypatch: pytest.MonkeyPatch,
    target: str = "*",
) -> None:
    """Materialize every asset of a profile over one question shard, in the order of the graph.

    Args:
        target: a selection; by default all assets.
    """
    # Checks and pictures have tests of their own, and take most of the time.
    monkeypatch.setattr(figures, "to_png", lambda *_: b"")
    monkeypatch.setattr(examples, "to_svg", lambda figure: "")
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda engine, figure: None)
    built = build_definitions(profile, home)
    definitions = dg.Definitions(
        assets=built.assets, resources={**(built.resources or {}), "trainer": InThisProcess()}
    )
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("question_shard", [shard])
        _run_all(definitions, instance, target)


def _run_all(definitions: dg.Definitions, instance: dg.DagsterInstance, target: str) -> None:
    graph = definitions.resolve_asset_graph()
    wanted = dg.AssetSelection.from_string(target).resolve(graph)
    job = definitions.resolve_implicit_global_asset_job_def()
    for level in graph.toposorted_asset_keys_by_level:
        for key in level:
            node = graph.get(key)
            if (
                key not in wanted
                or not node.is_executable
                or node.is_observable
                or key == STAGE_REPORT
            ):
                continue
            partitions = node.partitions_def
            keys = (
                partitions.get_partition_keys(dynamic_partitions_store=instance)
                if partitions
                else [None]
            )
            for partition in keys:
                with repository_with(graph):
                    result = job.execute_in_process(
                        asset_selection=[key], partition_key=partition, instance=instance
                    )
                assert result.success, (key, partition)
