"""What is shipped in `tiny_world/` is what the generator makes and what the manifest says."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from tools.tiny_world.build import MANIFEST, file_hashes, write_questions
from tools.tiny_world.measuring import sample, summary
from tools.tiny_world.properties import LIMITS, missed
from tools.tiny_world.questions import DOMAINS, evaluation_problems

pytestmark = pytest.mark.slow

SHIPPED = Path(__file__).parents[3] / "tiny_world"
MAX_MODEL_BYTES = 10_000_000


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((SHIPPED / MANIFEST).read_text(encoding="utf-8"))
    return content


def test_files_are_those_of_the_manifest(manifest: dict[str, Any]) -> None:
    assert file_hashes(SHIPPED) == manifest["files"]
    models = {name: f for name, f in manifest["files"].items() if name.startswith("models/")}
    assert sum(f["bytes"] for f in models.values()) <= MAX_MODEL_BYTES
    assert any(name.endswith(".safetensors") for name in models)


def test_questions_regenerate_byte_for_byte(manifest: dict[str, Any], tmp_path: Path) -> None:
    write_questions(tmp_path, manifest["seed"])
    made = {
        path.relative_to(tmp_path).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in tmp_path.rglob("*.jsonl")
    }
    shipped = {
        name: f["sha256"] for name, f in manifest["files"].items() if name.endswith(".jsonl")
    }
    assert made == shipped


def test_properties_are_within_their_limits_but_for_those_that_are_said_to_be_missed(
    manifest: dict[str, Any],
) -> None:
    found = manifest["properties"]
    assert missed({name: one["value"] for name, one in found.items()}) == manifest["missed"]
    assert {name for name, one in found.items() if one["limits"]} == set(LIMITS)
    page = (SHIPPED.parent / "docs" / "small-world.md").read_text(encoding="utf-8")
    for name in LIMITS:
        row = f"| `{name}` | {found[name]['value']} |"
        assert row in page, f"docs/small-world.md, Measured, has no {row}"
    for name in manifest["missed"]:
        assert f"`{name}`" in page.partition("## Measured")[2], name


def test_accuracy_is_recorded_for_both_models_at_both_temperatures(
    manifest: dict[str, Any],
) -> None:
    teacher, student = manifest["measured"]["teacher"], manifest["measured"]["student"]
    assert teacher["0.6"]["accuracy"] >= 0.90
    assert teacher["0.6"]["accuracy"] >= student["1.0"]["accuracy"] + 0.20
    assert student["1.0"]["accuracy"] < 0.50
    assert {"loop", "tool_call", "no_final"} <= set(teacher["1.0"]["flaw_rates"])
    for by_temperature in (teacher, student):
        assert set(by_temperature) == {"0.6", "1.0"}
        for measured in by_temperature.values():
            assert measured["n"] >= 1_500
            assert set(measured["accuracy_per_domain"]) == set(DOMAINS)


@pytest.mark.parametrize(("name", "temperature"), [("teacher", 0.6), ("student", 1.0)])
def test_accuracy_measured_again_is_near_the_recorded(
    manifest: dict[str, Any], name: str, temperature: float
) -> None:
    folder = SHIPPED / "models" / name
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.config.vocab_size == len(tokenizer)
    assert model.num_parameters() == manifest["parameters"][name]
    # Other questions than the first of each domain are left to the build: this is a spot check.
    problems = [p for group in evaluation_problems(manifest["seed"]).values() for p in group[:12]]
    again = summary(sample(model, tokenizer, problems, temperature, seed=1))
    recorded = manifest["measured"][name][str(temperature)]["accuracy"]
    # Four standard errors of this small sample.
    bound = 4 * math.sqrt(recorded * (1 - recorded) / len(problems))
    assert abs(again["accuracy"] - recorded) <= bound
