"""The cards: metadata that the hub's own classes read, and every section."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard
from pydantic import ValidationError
from support.release_lake import PROFILE

from dasd_assets.profile import Profile, ProfileError, load_profile
from dasd_assets.profile.release import Release
from dasd_assets.release.cards import (
    CARD,
    DATASET_METADATA,
    DATASET_SECTIONS,
    MODEL_METADATA,
    MODEL_SECTIONS,
    base_model,
    card_problems,
)
from dasd_assets.release.facts import licence_text
from dasd_assets.release.folder import ReleaseError
from resources.lake.tables.release import RELEASED_LOGPROBS, RELEASED_SAMPLE

pytestmark = pytest.mark.slow


def test_the_models_metadata(model_folder: Path) -> None:
    data = ModelCard.load(model_folder / CARD).data
    assert (data.license, data.language, data.library_name) == (
        "apache-2.0", ["en"], "transformers",
    )  # fmt: skip
    assert data.pipeline_tag == "text-generation"
    assert data.datasets == ["dasd-training-data"]
    assert data.base_model is None, "the tiny student is a folder, no model of the hub"
    results = {result.dataset_name: result for result in data.eval_results}
    assert list(results) == [name.replace("_", " ") for name in PROFILE.evaluation.benchmarks]
    assert (results["math"].metric_name, results["math"].metric_value) == ("avg@4", 75.0)
    assert results["math"].metric_args["interval"] == [75.0, 75.0]


def test_the_models_card_tells_recipe_funnel_and_numbers(model_folder: Path) -> None:
    text = (model_folder / CARD).read_text(encoding="utf-8")
    for part in (
        "| base student | 25.0 [25.0, 25.0] |",
        "| stage 1, low temperature | 50.0 [50.0, 50.0] |",
        "| stage 3, mixed policy (this model) | 75.0 [75.0, 75.0] |",
        "| overall | +50.0 | [+50.0, +50.0] |",
        "| 1 | base student | `stage1_low_temperature` | 1 | 30 | 3 | 0.001 → 0.0001 |",
        "| filtered responses | low | 2 | 66.7% | hit_max_tokens 1, repeated_ngram 1 |",
        "T = 0.6 (low, 4 a question), T = 1 (high, 4 a question)",
        "none of which were checked for being right",
        "3 training rows were searched for 13 consecutive words",
        "Of the data checks that\nbad data must not pass, 0 passed and none failed.",
        "vllm serve dasd-model --max-model-len 1024",
        "Made by `dasd-dagster ",
    ):
        assert part in text, part
    assert card_problems(text, MODEL_SECTIONS, MODEL_METADATA) == []


def test_the_datasets_card_describes_every_column(dataset_folder: Path) -> None:
    text = (dataset_folder / CARD).read_text(encoding="utf-8")
    assert card_problems(text, DATASET_SECTIONS, DATASET_METADATA) == []
    for schema in (RELEASED_SAMPLE, RELEASED_LOGPROBS):
        for field in schema:
            assert f"| `{field.name}` | `" in text
    assert "`list<struct<part: string, start_byte: int32, " in text
    assert [c["config_name"] for c in DatasetCard(text).data["configs"]] == [
        "stage1_low_temperature", "stage1_low_temperature_logprobs", "stage2_high_temperature",
        "stage2_high_temperature_logprobs", "stage3_mixed_policy",
    ]  # fmt: skip


def test_what_a_card_lacks_is_named(model_folder: Path) -> None:
    text = (model_folder / CARD).read_text(encoding="utf-8")
    without = text.replace("## Recipe", "## Else").replace("license: apache-2.0\n", "")
    assert card_problems(without, MODEL_SECTIONS, MODEL_METADATA) == [
        "section Recipe: missing", "metadata license: missing",
    ]  # fmt: skip
    start, end = text.index("## Licence\n"), text.index("## Files and checksums")
    hollow = text[:start] + "## Licence\n\n" + text[end:]
    assert card_problems(hollow, MODEL_SECTIONS, MODEL_METADATA) == ["section Licence: empty"]
    (problem,) = card_problems("---\nlicense: [\n---\n", MODEL_SECTIONS, MODEL_METADATA)
    assert problem.startswith("metadata cannot be read")
    assert len(card_problems("", MODEL_SECTIONS, MODEL_METADATA)) == len(MODEL_SECTIONS) + len(
        MODEL_METADATA
    )


@pytest.mark.parametrize(
    ("path", "named", "expected"),
    [
        ("Qwen/Qwen3-4B-Instruct-2507", None, "Qwen/Qwen3-4B-Instruct-2507"),
        ("tiny_world/models", None, None),
        ("/models/student", None, None),
        ("/models/student", "Qwen/Qwen3-4B", "Qwen/Qwen3-4B"),
    ],
)
def test_the_base_model_is_named_if_the_hub_has_it(
    path: str, named: str | None, expected: str | None
) -> None:
    student = PROFILE.base_student.model_copy(update={"path": path})
    release = Release(base_model=named)
    profile = PROFILE.model_copy(update={"base_student": student, "release": release})
    assert base_model(profile) == expected


def test_the_profile_in_a_release_is_the_profile(model_folder: Path, dataset_folder: Path) -> None:
    for folder in (model_folder, dataset_folder):
        content = yaml.safe_load((folder / "profile.yaml").read_text(encoding="utf-8"))
        assert Profile.model_validate(content) == PROFILE


def test_no_secret_can_be_in_a_profile(tmp_path: Path) -> None:
    """A key is named, never held; a URL with a password is refused, without showing it."""
    settings = PROFILE.model_dump(mode="json")
    settings["teacher"]["engine"] = {
        "kind": "openai", "served_model": "m", "base_url": "https://me:hunter2@example.com/v1",
    }  # fmt: skip
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    with pytest.raises(ProfileError) as refused:
        load_profile(str(file))
    assert "neither user nor password" in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"license": "mit"}, "license_file is needed: the project has the text of apache-2.0 only"),
        ({"license": "Apache 2.0"}, "license"),
        ({"model_id": "a/b/c"}, "model_id"),
        ({"model_id": "größe"}, "model_id"),
        ({"languages": ["English"]}, "languages"),
        ({"languages": []}, "languages"),
        ({"max_data_shard_mib": 0}, "max_data_shard_mib"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Release.model_validate(settings)


def test_the_licence_of_a_profile_of_ones_own_lies_beside_it(tmp_path: Path) -> None:
    settings = PROFILE.model_dump(mode="json")
    settings["release"] = {"license": "mit", "license_file": "MIT.txt"}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    (tmp_path / "MIT.txt").write_text("Permission is hereby granted", encoding="utf-8")
    assert licence_text(load_profile(str(file))) == "Permission is hereby granted"


def test_another_licence(tmp_path: Path) -> None:
    file = tmp_path / "LICENSE-mit"
    release = Release(license="mit", license_file=str(file))
    profile = PROFILE.model_copy(update={"release": release})
    with pytest.raises(ReleaseError, match=r"license_file .*LICENSE-mit cannot be read"):
        licence_text(profile)
    file.write_text("Permission is hereby granted", encoding="utf-8")
    assert licence_text(profile) == "Permission is hereby granted"
    assert "Apache License" in licence_text(PROFILE)
