"""Profiles between the laptop and the paper: they fit, cost what they say, and run."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.planned import planned_as_announced
from support.whole_graph import run_whole_graph

from dasd_assets.profile import PROJECT_ROOT, Profile, load_profile
from resources.compute.declared import GIB
from resources.engines.settings import SyntheticSettings

LADDER = ("one-gpu-24gb", "dasd-1.7b", "one-gpu-80gb", "one-node-8x80gb", "dasd-4b")


@pytest.mark.parametrize("name", LADDER)
def test_it_fits_and_costs_what_its_description_and_the_readme_say(name: str) -> None:
    plan, profile = planned_as_announced(name), load_profile(name)
    assert not [finding for finding in plan.findings if finding.level == "problem"]
    assert plan.gpu_hours is not None
    gpu_hours, disk = f"{plan.gpu_hours:,.0f} GPU-hours", f"{plan.disk_bytes / GIB:,.0f} GiB"
    assert f"({gpu_hours}, {disk} of disk)" in profile.description
    lines = (PROJECT_ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith(f"| `{name}` ")]
    assert line.endswith(f"| {gpu_hours} | {disk} |")
    assert f"| {sum(plan.questions.values()):,}" in line


def test_the_larger_student_of_one_gpu_of_24_gb_fits_with_adapters_and_not_in_full() -> None:
    plan = planned_as_announced("dasd-1.7b")
    found = {way.way: way for way in plan.ways if way.training == "temperature_scheduled_learning"}
    assert found["as set"].gpus == found["LoRA of rank 32"].gpus == 1
    assert found["as set"].n_bytes == found["LoRA of rank 32"].n_bytes
    assert (found["full fine-tuning"].gpus or 0) > 1
    in_full = {way.way: way.gpus for way in planned_as_announced("one-gpu-24gb").ways}
    assert in_full["full fine-tuning"] == 1


def rehearsal(profile: Profile, folder: Path) -> Profile:
    """The profile with the tiny models' tokenizers, made-up answers and a few questions."""
    tiny = load_profile("tiny")
    assert profile.teacher is not None and tiny.teacher is not None
    engine = SyntheticSettings(mean_tokens=400, max_model_len=100_000)
    drop = next((PROJECT_ROOT / "tiny_world" / "inbox").glob("*.jsonl"))
    (folder / "inbox").mkdir()
    lines = drop.read_text(encoding="utf-8").splitlines(keepends=True)[:4]
    (folder / "inbox" / "few.jsonl").write_text("".join(lines), encoding="utf-8")
    sampling = profile.divergence_sampling
    return profile.model_copy(
        update={
            "teacher": profile.teacher.model_copy(
                update={"path": tiny.teacher.path, "engine": engine}
            ),
            "base_student": tiny.base_student.model_copy(update={"engine": engine}),
            "questions": profile.questions.model_copy(update={"inbox": str(folder / "inbox")}),
            "divergence_sampling": sampling.model_copy(
                update={"budget_samples": {"low": 2, "high": 3}, "domain_shares": {}}
            ),
            "evaluation": tiny.evaluation,
        }
    )


# dasd-1.7b is one-gpu-24gb but for its student's training.
@pytest.mark.parametrize("name", [name for name in LADDER if name != "dasd-1.7b"])
def test_its_data_path_runs_with_made_up_answers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = rehearsal(load_profile(name), tmp_path)
    run_whole_graph(profile, tmp_path / "home", "few", monkeypatch, '+key:"divergence_sample"')
    for temperature, n_rows in (("low", 2), ("high", 3)):
        part = tmp_path / "home" / "lake" / "divergence_sample" / f"temperature={temperature}"
        (file,) = part.rglob("*.parquet")
        assert pq.read_metadata(file).num_rows == n_rows
