"""The three stages one after the other: what each starts from, is trained on and with."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from support.small_lake import make_small_lake
from support.training_rows import STUDENT

from dasd_assets.mixed_policy_distillation import assets as mixed_policy
from dasd_assets.models.students import resource_of
from dasd_assets.profile import Profile, Student, load_profile
from dasd_assets.temperature_scheduled_learning import assets as scheduled
from resources.compute.training_launcher import TrainingLauncher, TrainingResult
from resources.engines.inference import InferenceModel
from resources.lake.lake import Lake
from resources.lake.lake_folder import FOLDER_MANIFEST

pytestmark = pytest.mark.slow

CHECKPOINTS = ["low_temperature_checkpoint", "high_temperature_checkpoint", "dasd_checkpoint"]
LOG = {
    "step": 1, "loss": 2.0, "learning_rate": 1e-3, "grad_norm": 1.0, "tokens_per_second": 10.0,
    "memory_gib": 0.1, "seconds": 1.0,
}  # fmt: skip
CERTIFICATE = {
    "checks": [], "warnings": [], "samples_in": 1, "trained_tokens": 1, "tokens": 2,
    "packing_efficiency": 1.0,
}  # fmt: skip


class NotedLauncher(TrainingLauncher):
    """Notes what it is asked for, and leaves a model that differs from where it started."""

    notes: str

    def run(
        self, context: dg.AssetExecutionContext, config: dict[str, Any], output_dir: Path
    ) -> TrainingResult:
        note = {**config, "asset": context.asset_key.to_user_string(), "output": str(output_dir)}
        with Path(self.notes).open("a", encoding="utf-8") as notes:
            notes.write(json.dumps(note) + "\n")
        if not output_dir.exists():
            own = shutil.ignore_patterns(FOLDER_MANIFEST)  # of the checkpoint before
            shutil.copytree(config["model_path"], output_dir, ignore=own)
            (output_dir / "trained_from.json").write_text(json.dumps(config["model_path"]))
        return TrainingResult([LOG, {**LOG, "step": 2, "loss": 1.0}], CERTIFICATE)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(root=str(tmp_path / "lake"))
    make_small_lake(lake)
    shutil.rmtree(tmp_path / "lake" / "checkpoints")
    return lake


def train(
    lake: Lake, profile: Profile, selection: Sequence[str] = CHECKPOINTS
) -> list[dict[str, Any]]:
    """Materialize the checkpoints; what the launcher was asked for, in order."""
    notes = Path(lake.root).with_name("notes.jsonl")
    notes.unlink(missing_ok=True)
    assets = [*scheduled.build(profile), *mixed_policy.build(profile)]
    result = dg.materialize(
        assets,
        selection=selection,
        resources={
            **{
                resource_of(name): InferenceModel(path=student.location, engine={})
                for name, student in profile.students.items()
            },
            "lake": lake,
            "trainer": NotedLauncher(notes=str(notes)),
            "base_student_model": InferenceModel(path=str(STUDENT), engine={}),
            "teacher": InferenceModel(path=str(STUDENT), engine={}),
        },
    )
    assert result.success
    return [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]


def test_each_stage_goes_on_from_the_one_before_with_its_own_sample(lake: Lake) -> None:
    low, high, dasd = train(lake, load_profile("tiny"))
    assert [note["asset"] for note in (low, high, dasd)] == CHECKPOINTS
    assert low["model_path"] == str(STUDENT)
    assert high["model_path"] == low["output"] == str(lake.current_checkpoint("low_temperature"))
    assert dasd["model_path"] == high["output"] == str(lake.current_checkpoint("high_temperature"))
    for note, table, partition in (
        (low, "divergence_sample", {"temperature": "low"}),
        (high, "divergence_sample", {"temperature": "high"}),
        (dasd, "mixed_policy_sample", None),
    ):
        assert note["samples"] == [str(lake.path(table, partition))]
        assert note["expected_model_path"] == str(STUDENT)
        assert note["system_prompt"] == load_profile("tiny").system_prompt


def test_a_further_student_starts_from_itself_on_the_low_sample(lake: Lake, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(STUDENT, other)
    tiny = load_profile("tiny")
    training = tiny.temperature_scheduled_learning.model_copy(update={"epochs": 9})
    student = Student(path=str(other), training=training)
    profile = tiny.model_copy(update={"students": {"other": student}})
    low, note = train(lake, profile, [CHECKPOINTS[0], "student_checkpoint/other"])
    assert note["asset"] == "student_checkpoint/other"
    assert note["model_path"] == note["expected_model_path"] == str(other)
    assert note["samples"] == low["samples"]
    assert (low["epochs"], note["epochs"]) == (tiny.temperature_scheduled_learning.epochs, 9)
    assert (low["counted_by"], note["counted_by"]) == (None, str(STUDENT))
    assert note["output"] == str(lake.current_checkpoint("other"))
    assert low["output"] == str(lake.current_checkpoint("low_temperature"))


def test_both_temperatures_are_trained_with_the_same_settings_and_the_third_for_one_epoch(
    lake: Lake,
) -> None:
    profile = load_profile("dasd-4b")
    low, high, dasd = train(lake, profile)
    own = {"asset", "output", "model_path", "samples"}
    same = {name: value for name, value in low.items() if name not in own}
    assert {name: value for name, value in high.items() if name not in own} == same
    assert same.items() >= profile.temperature_scheduled_learning.model_dump(mode="json").items()
    apart = {name for name in same if dasd[name] != same[name]}
    assert apart == {"epochs"}
    assert (low["epochs"], dasd["epochs"]) == (6, 1)


def test_the_loss_covers_the_students_prefix_unless_masking_is_asked_for(lake: Lake) -> None:
    profile = load_profile("tiny")
    assert [note["mask_student_prefix"] for note in train(lake, profile)] == [False] * 3
    mixed = profile.mixed_policy_distillation.model_copy(update={"mask_student_prefix": True})
    masked = profile.model_copy(update={"mixed_policy_distillation": mixed})
    before = lake.current_checkpoint("dasd")
    notes = train(lake, masked)
    assert [note["mask_student_prefix"] for note in notes] == [False, False, True]
    assert lake.current_checkpoint("dasd") != before
