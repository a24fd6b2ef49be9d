"""A plan with what `make gpu-check` measured: its speeds go before assumed ones, and are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.planned import SHAPE, small_profile

from dasd_assets.plan.flops import training_passes
from dasd_assets.plan.gpu_check import GpuCheckError, GpuFigures, read
from dasd_assets.plan.quantities import DERIVED_OF_MATMUL, Quantities
from dasd_assets.profile import PlanSettings

MACHINE = {"name": "a GPU", "matmul_flops_per_second": 1e12}
FOUND: dict[str, Any] = {
    "options": {"shape": "qwen3-4b"},
    "parts": {
        "machine": MACHINE,
        "restart": {"not_run": "no time"},
        "sampling": {"tokens_per_second": 100.0},
        "scoring, 8,192 tokens": {"share_of_matmul": 0.6, "tokens_per_second": 1.0},
        "scoring, 65,536 tokens": {"share_of_matmul": 0.5, "tokens_per_second": 1.0},
        "training, 65,536 tokens, packed": {"mfu": 0.45, "tokens_per_second": 1.0},
    },
}
OF_GPU = GpuFigures("a GPU", 1e12, {"scoring": 0.5, "training": 0.6})


def written(folder: Path, found: Any) -> Path:
    file = folder / "gpu-check.json"
    file.write_text(found if isinstance(found, str) else json.dumps(found), encoding="utf-8")
    return file


def test_the_least_share_of_all_lengths_is_read(tmp_path: Path) -> None:
    """The MFU counts three passes, a training with checkpointing takes four."""
    found = read(written(tmp_path, FOUND))
    assert (found.name, found.matmul_flops_per_second) == ("a GPU", 1e12)
    assert found.shares == pytest.approx(OF_GPU.shares)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("no json", "not what `make gpu-check` writes"),
        ([], "not what `make gpu-check` writes"),
        ({"options": {}}, r"not what .* \(KeyError\('shape'\)\)"),
        ({"options": {"shape": "small"}}, "with --shape small, not with qwen3-4b's shape"),
        ({"parts": {"machine": {"not_run": "no GPU"}}}, "machine was not measured: no GPU"),
        ({"parts": {"machine": MACHINE}}, "no speed of scoring or training in it"),
        ({"parts": {"machine": MACHINE, "a": {"mfu": 2.0}}}, "no speed of training in it"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, changes: Any, message: str) -> None:
    found = {**FOUND, **changes} if isinstance(changes, dict) else changes
    with pytest.raises(GpuCheckError, match=f"gpu-check.json: .*{message}"):
        read(written(tmp_path, found))
    with pytest.raises(GpuCheckError, match="No such file"):
        read(tmp_path / "none")


def test_what_it_measured_goes_before_what_the_profile_assumes_and_after_an_option() -> None:
    profile = small_profile(plan={"training_tokens_per_second": 7.0})
    training = profile.temperature_scheduled_learning
    asked = Quantities(profile, PlanSettings(), {}, SHAPE, SHAPE, gpu=OF_GPU)
    rate = asked.training_rate("low_temperature_checkpoint", training, 100.0)
    (flops,) = asked.flops
    assert flops.passes == training_passes(training)
    assert rate == pytest.approx(0.6 * 1e12 / flops.total)
    sources = {quantity.name: quantity.source for quantity in asked.used}
    assert sources == {
        "matmul_flops_per_second": "gpu-check: a GPU",
        "share_of_matmul.training": "gpu-check: a GPU",
        "training_tokens_per_second (low_temperature_checkpoint)": DERIVED_OF_MATMUL,
    }
    assert asked.rate("teacher", "teacher_responses", "low", 100.0) == 1000, "sampling is not"
    option = PlanSettings(training_tokens_per_second=9.0)
    given = Quantities(profile, option, {}, SHAPE, SHAPE, gpu=OF_GPU)
    assert given.training_rate("low_temperature_checkpoint", training, 100.0) == 9.0
    unknown = Quantities(profile, PlanSettings(), {}, None, None, gpu=OF_GPU)
    assert unknown.training_rate("low_temperature_checkpoint", training, 100.0) == 7.0
