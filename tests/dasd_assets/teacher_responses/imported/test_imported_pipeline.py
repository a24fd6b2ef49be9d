"""Imported answers on their way through the graph, from three public layouts to a sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from support import answer_drops
from transformers import AutoTokenizer

from dasd_assets.graph import build_definitions
from dasd_assets.profile import PROFILE_FOLDER, PROJECT_ROOT, Profile, load_profile
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow

TEACHER = PROJECT_ROOT / "tiny_world" / "models" / "teacher"
LAYOUTS = {
    "superior": answer_drops.RELEASED,
    "openthoughts": answer_drops.OPEN_THOUGHTS,
    "openr1": answer_drops.OPEN_R1,
}
OF_A_CELL = (
    "imported_answers", "teacher_responses", "filtered_responses", "student_scores",
    "teacher_scores", "sentence_provenance",
)  # fmt: skip

KEPT = {
    "low/superior": (12, 12, 12), "high/superior": (12, 0, 12), "low/openthoughts": (12, 1, 12),
    "low/openr1": (6, 3, 6),
}  # fmt: skip
"""Cell -> imported, quarantined, kept by the filters: a table of docs/bring-your-own-answers.md."""


def profile_with(folder: Path, layouts: list[str], **changes: Any) -> Profile:
    settings = yaml.safe_load((PROFILE_FOLDER / "tiny.yaml").read_text(encoding="utf-8"))
    settings["questions"] |= {
        "inbox": "inbox",
        "layouts": {
            name: LAYOUTS[name].model_dump(mode="json", exclude_unset=True) for name in layouts
        },
    }
    settings["divergence_sampling"]["budget_samples"] = {"low": 20, "high": 20}
    for section, change in changes.items():
        if isinstance(change, dict):
            settings[section] |= change
        else:
            settings[section] = change
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return load_profile(str(file))


class Run:
    """Materializes the assets of a profile, partition by partition, in this process."""

    def __init__(self, profile: Profile, folder: Path, instance: dg.DagsterInstance) -> None:
        definitions = build_definitions(profile, folder / "home")
        graph = definitions.resolve_asset_graph()
        self.names = {key.to_user_string() for key in graph.materializable_asset_keys}
        self._assets = [
            each for each in definitions.assets or [] if isinstance(each, dg.AssetsDefinition)
        ]
        self._checks = list(definitions.asset_checks or [])
        self._resources = definitions.resources
        self._instance = instance
        self.failed_checks: set[str] = set()

    def __call__(
        self, *names: str, partition: Any = None, with_checks: bool = False
    ) -> dict[str, Any]:
        wanted = [name for name in names if name in self.names]
        selection = dg.AssetSelection.assets(*wanted)
        selection = selection if with_checks else selection.without_checks()
        result = dg.materialize(
            [*self._assets, *self._checks], selection=selection, partition_key=partition,
            instance=self._instance, resources=self._resources,
        )  # fmt: skip
        self.failed_checks |= {
            f"{check.asset_key.to_user_string()}.{check.check_name}"
            for check in result.get_asset_check_evaluations()
            if not check.passed
        }
        return {
            event.asset_key.to_user_string(): {
                name: value.value for name, value in event.materialization.metadata.items()
            }
            for event in result.get_asset_materialization_events()
            if event.asset_key
        }

    def through(self, shards: list[str], cells: list[str]) -> dict[str, dict[str, Any]]:
        """All up to the low sample; cell -> metadata of its assets. The first is checked."""
        self._instance.add_dynamic_partitions("question_shard", shards)
        self("benchmark_questions", partition="math")
        for shard in shards:
            self("raw_questions", "questions", partition=shard)
        found = {}
        for cell in cells:
            temperature, shard = cell.split("/")
            key = dg.MultiPartitionKey({"temperature": temperature, "question_shard": shard})
            found[cell] = self(*OF_A_CELL, partition=key, with_checks=cell == cells[0])
        self("divergence_sample", partition="low")
        return found


def test_three_public_layouts_come_to_a_sample(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    answer_drops.released(inbox, AutoTokenizer.from_pretrained(TEACHER))
    answer_drops.open_thoughts(inbox)
    answer_drops.open_r1(inbox)
    profile = profile_with(tmp_path, list(LAYOUTS))
    lake = Lake(root=str(tmp_path / "home" / "lake"))
    with dg.DagsterInstance.ephemeral() as instance:
        run = Run(profile, tmp_path, instance)
        found = run.through(list(LAYOUTS), list(KEPT))
    counts = {
        cell: (of["imported_answers"]["dagster/row_count"], of["imported_answers"]["quarantined"],
               of["filtered_responses"]["dagster/row_count"])
        for cell, of in found.items()
    }  # fmt: skip
    assert counts == KEPT
    for of in (each["imported_answers"] for each in found.values()):
        assert ("| file | line | reason |" in of.get("quarantined_rows", "")) == (
            of["quarantined"] > 0
        )
    responses = lake.read_partitions("teacher_responses", question_shard="superior").to_pylist()
    assert {row["engine"] for row in responses} == {"imported"}
    assert {row["logprobs_mode"] for row in responses} == {"raw_logprobs"}
    assert {row["finish_reason"] for row in responses} == {"stop"}
    assert {row["model"] for row in responses} == {profile.teacher and profile.teacher.path}
    unknown = {"model_revision", "engine_version", "top_p", "max_tokens", "seed",
               "system_prompt", "reasoning_effort"}  # fmt: skip
    assert all(row[name] is None for row in responses for name in unknown)
    bare = lake.read("teacher_responses", {"temperature": "low", "question_shard": "openthoughts"})
    assert {row["sample_index"] for row in bare.to_pylist()} == {0, 1}
    nothing = {*unknown, "model", "token_ids", "logprobs", "logprobs_mode", "finish_reason"}
    assert all(bare[name].null_count == bare.num_rows for name in nothing)
    # With logprobs they are kept; without, the teacher is asked. Selection looks at all.
    left_out = lake.read_partitions("teacher_scores", ["left_out"], question_shard="superior")
    assert set(left_out["left_out"].to_pylist()) == {"has_logprobs"}
    provenance = lake.read_partitions("response_provenance")
    assert provenance["p_teacher"].null_count == 0
    sample = lake.read("divergence_sample", {"temperature": "low"})
    assert set(sample["question_shard"].to_pylist()) == set(LAYOUTS)
    assert sample.num_rows == 20
    assert run.failed_checks == {"imported_answers.few_quarantined"}


def test_without_a_teacher_what_nobody_knows_stays_unknown(tmp_path: Path) -> None:
    answer_drops.open_thoughts(tmp_path / "inbox")
    profile = profile_with(
        tmp_path, ["openthoughts"], teacher=None, divergence_sampling={"policy": "longest"}
    )
    lake = Lake(root=str(tmp_path / "home" / "lake"))
    with dg.DagsterInstance.ephemeral() as instance:
        run = Run(profile, tmp_path, instance)
        run.through(["openthoughts"], ["low/openthoughts"])
    assert run.names.isdisjoint(
        {"teacher_model", "teacher_scores", "teacher_continuations", "dasd_checkpoint",
         "evaluation/dasd", "model_release"}
    )  # fmt: skip
    assert {"high_temperature_checkpoint", "evaluation/high_temperature"} < run.names
    provenance = lake.read_partitions("response_provenance")
    assert provenance["p_teacher"].null_count == provenance.num_rows == 12
    sample = lake.read("divergence_sample", {"temperature": "low"})
    assert sample.num_rows == 12
    assert run.failed_checks <= {"imported_answers.few_quarantined"}
