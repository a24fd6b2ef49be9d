"""The released folders are what others load: transformers, datasets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
import torch
from support.release_lake import PROFILE, RELEASES, put_evaluation, release
from support.training_rows import STUDENT
from transformers import AutoModelForCausalLM, AutoTokenizer

from dasd_assets.release import publish
from dasd_assets.release.folder import SUMS
from dasd_assets.release.weights import write_model
from dasd_assets.reporting.code_version import CodeVersion
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow

MESSAGES = [
    {"role": "system", "content": PROFILE.system_prompt},
    {"role": "user", "content": "What is 12 + 30?"},
]
CODE = CodeVersion("0", "c", False)


def logits(folder: Path) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer.apply_chat_template(
        MESSAGES, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        return model(**inputs).logits


def test_every_check_passes(released: tuple[Lake, dg.ExecuteInProcessResult]) -> None:
    _, result = released
    assert result.success
    evaluations = result.get_asset_check_evaluations()
    assert len(evaluations) == 8
    assert all(evaluation.passed and evaluation.blocking for evaluation in evaluations)
    for name in ("model_release", "dataset_release"):
        (event,) = result.asset_materializations_for_node(name)
        assert int(str(event.metadata["files"].value)) > 5
        assert "## Licence" in str(event.metadata["card"].value)


def test_the_released_model_gives_the_checkpoints_logits(
    released: tuple[Lake, dg.ExecuteInProcessResult], model_folder: Path
) -> None:
    checkpoint = released[0].current_checkpoint("dasd")
    assert torch.equal(logits(model_folder), logits(checkpoint))


def test_weights_are_cut_into_files_of_bounded_size(lake: Lake) -> None:
    settings = PROFILE.release.model_copy(update={"max_weight_shard_mib": 1})
    profile = PROFILE.model_copy(update={"release": settings})
    result = release(lake, "model_release", profile=profile, with_checks=True)
    assert result.success
    assert all(evaluation.passed for evaluation in result.get_asset_check_evaluations())
    folder = Path(lake.root, "releases", "model")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) == 2
    assert max(shard.stat().st_size for shard in shards) <= 1024**2 + 4096
    assert torch.equal(logits(folder), logits(lake.current_checkpoint("dasd")))


def test_the_weights_keep_the_type_they_were_trained_in(tmp_path: Path) -> None:
    trained = AutoModelForCausalLM.from_pretrained(STUDENT, dtype=torch.bfloat16)
    trained.save_pretrained(tmp_path / "trained")
    AutoTokenizer.from_pretrained(STUDENT).save_pretrained(tmp_path / "trained")
    write_model(tmp_path / "trained", tmp_path / "released", 1024**2)
    released = AutoModelForCausalLM.from_pretrained(tmp_path / "released", dtype="auto")
    assert released.dtype == torch.bfloat16
    for name, weights in trained.state_dict().items():
        assert torch.equal(weights, released.state_dict()[name])


@pytest.mark.parametrize(
    ("configuration", "table", "partition"),
    [
        ("stage1_low_temperature", "divergence_sample", {"temperature": "low"}),
        ("stage2_high_temperature", "divergence_sample", {"temperature": "high"}),
        ("stage3_mixed_policy", "mixed_policy_sample", {}),
        ("stage1_low_temperature_logprobs", "divergence_sample", {"temperature": "low"}),
        ("stage2_high_temperature_logprobs", "divergence_sample", {"temperature": "high"}),
    ],
)
def test_datasets_loads_every_configuration(
    released: tuple[Lake, dg.ExecuteInProcessResult],
    dataset_folder: Path,
    tmp_path: Path,
    configuration: str,
    table: str,
    partition: dict[str, str],
) -> None:
    from datasets import load_dataset

    rows = load_dataset(str(dataset_folder), configuration, split="train", cache_dir=str(tmp_path))
    expected = released[0].read(table, partition)
    assert rows.num_rows == expected.num_rows
    for name in set(rows.column_names) & set(expected.column_names):
        assert rows[name][:] == expected[name].to_pylist()
    if configuration.endswith("_logprobs"):
        assert {"token_ids", "logprobs", "sentences"} <= set(rows.column_names)


def test_the_same_content_is_the_same_release(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte; other rows, another profile or other code are another release."""
    monkeypatch.setattr(publish, "code_version", lambda: CODE)
    versions: list[dict[str, str]] = []

    def again(profile: Any = PROFILE) -> dict[str, str]:
        result = release(lake, "model_release", "dataset_release", profile=profile)
        assert result.success
        found = {
            name: str((event.tags or {})["dagster/data_version"])
            for name in ("model_release", "dataset_release")
            for event in result.asset_materializations_for_node(name)
        }
        versions.append(found)
        return found

    first = again()
    folder = Path(lake.root, "releases")
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}
    assert again() == first
    assert before == {f: f.stat().st_mtime_ns for f in folder.rglob("*") if f.is_file()}
    monkeypatch.setattr(publish, "code_version", lambda: CodeVersion("0", "c", True))
    dirty = again()
    assert all(dirty[name] != first[name] for name in first)
    assert json.loads((folder / "model" / "lineage.json").read_text())["code"]["is_dirty"]
    row = lake.read("divergence_sample", {"temperature": "low"})
    twice = pa.concat_tables([row, row.slice(0, 0)]).set_column(
        row.schema.get_field_index("score"),
        row.schema.field("score"),
        pa.array([0.25], pa.float32()),
    )
    lake.write("divergence_sample", twice, {"temperature": "low"})
    assert again()["dataset_release"] != dirty["dataset_release"]


def test_no_file_names_a_place_on_this_machine(model_folder: Path, dataset_folder: Path) -> None:
    lake = str(model_folder.parents[1])
    for folder in (model_folder, dataset_folder):
        for file in folder.rglob("*"):
            if file.is_file():
                assert lake.encode() not in file.read_bytes(), file
        assert (folder / SUMS).is_file()


def test_what_loads_a_release_reads_the_files_that_write_model_writes(
    released: tuple[Lake, dg.ExecuteInProcessResult], model_folder: Path, tmp_path: Path
) -> None:
    """Beside them lie texts; that vLLM serves them is tests/deploy/'s."""
    checkpoint = released[0].current_checkpoint("dasd")
    write_model(checkpoint, tmp_path, PROFILE.release.max_weight_shard_mib * 1024**2)
    written = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    there = {file.name: file.read_bytes() for file in model_folder.iterdir()}
    assert written.items() <= there.items()
    texts = {"README.md", "LICENSE", "profile.yaml", "lineage.json", SUMS, ".manifest.json"}
    assert there.keys() - written.keys() <= texts


def test_without_stage_3_stage_2_is_what_is_released(lake: Lake) -> None:
    shutil.copytree(STUDENT, lake.checkpoint_folder("high_temperature", "4567abcdef"))
    lake.publish_checkpoint("high_temperature", "4567abcdef")
    for benchmark in PROFILE.evaluation.benchmarks:
        put_evaluation(lake, "high_temperature", benchmark, n_correct=2)
    without = PROFILE.model_copy(update={"mixed_policy_distillation": None})
    result = release(lake, *RELEASES, profile=without, with_checks=True)
    assert result.success
    assert all(evaluation.passed for evaluation in result.get_asset_check_evaluations())
    releases = Path(lake.root, "releases")
    card = (releases / "model" / "README.md").read_text(encoding="utf-8")
    assert "in two stages" in card
    assert "| stage 2, high temperature (this model) |" in card
    assert "Mixed policy" not in card
    assert not list((releases / "dataset").rglob("*stage3*"))
