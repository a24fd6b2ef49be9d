"""The three stages one after the other: what each starts from, is trained on and with."""

import json
import shutil
from collections.abc import Sequence
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from support.small_lake import filled, make_small_lake
from support.training_rows import STUDENT, row

from dasd_assets.mixed_policy_distillation import assets as mixed_policy
from dasd_assets.models.students import resource_of
from dasd_assets.partitions import TEMPERATURE
from dasd_assets.profile import Profile, Student, load_profile
from dasd_assets.temperature_scheduled_learning import assets as scheduled
from formats.model_format import ModelFormat, student_format
from formats.student_text import response_parts
from resources.compute.training_launcher import TrainingLauncher, TrainingResult
from resources.engines.inference import InferenceModel
from resources.engines.load import load_tokenizer
from resources.lake.lake import Lake
from resources.lake.lake_folder import FOLDER_MANIFEST
from training.training_set import TrainingSetError, describe

pytestmark = pytest.mark.slow

SETS = [
    "low_temperature_training_set", "high_temperature_training_set", "mixed_policy_training_set",
]  # fmt: skip
CHECKPOINTS = ["low_temperature_checkpoint", "high_temperature_checkpoint", "dasd_checkpoint"]
N = 32
"""Samples of each set: enough for a sequence on each of the processes of `dasd-4b`."""
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
    for first, temperature in enumerate(("low", "high")):
        sound = filled("divergence_sample", *(_sound(first + number) for number in range(N)))
        lake.write("divergence_sample", sound, {TEMPERATURE: temperature})
    prefix = {"student_prefix_bytes": len("<think>\nOnes:")}
    begun = [_sound(number) | prefix for number in range(N)]
    lake.write("mixed_policy_sample", filled("mixed_policy_sample", *begun), None)
    return lake


def _sound(number: int) -> dict[str, Any]:
    """A row that can be trained on, with its true length."""
    one = row(number)
    ids = written_by_student().encode(*response_parts(one["response_text"]))
    return {
        **one, "response_id": f"r{number}", "sample_id": f"s{number}", "weight": 1.0,
        "n_student_tokens": len(ids), "earlier_messages": None,
    }  # fmt: skip


@cache
def written_by_student() -> ModelFormat:
    return student_format(load_tokenizer(STUDENT))


def train(
    lake: Lake, profile: Profile, selection: Sequence[str] = (*SETS, *CHECKPOINTS)
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
    lines = notes.read_text(encoding="utf-8").splitlines() if notes.is_file() else []
    return [json.loads(line) for line in lines]


def test_each_stage_goes_on_from_the_one_before_with_its_own_sample(lake: Lake) -> None:
    low, high, dasd = train(lake, load_profile("tiny"))
    assert [note["asset"] for note in (low, high, dasd)] == CHECKPOINTS
    assert low["model_path"] == str(STUDENT)
    assert high["model_path"] == low["output"] == str(lake.current_checkpoint("low_temperature"))
    assert dasd["model_path"] == high["output"] == str(lake.current_checkpoint("high_temperature"))
    for note, name, table, partition in (
        (low, "low_temperature", "divergence_sample", {"temperature": "low"}),
        (high, "high_temperature", "divergence_sample", {"temperature": "high"}),
        (dasd, "dasd", "mixed_policy_sample", None),
    ):
        assert note["training_set"] == str(lake.current_folder(f"training_sets/{name}"))
        assert note["expected_model_path"] == str(STUDENT)
        made_of = describe(Path(note["training_set"])).made_of
        assert [file.path for file in made_of.sample_files] == [str(lake.path(table, partition))]
        assert made_of.system_prompt == load_profile("tiny").system_prompt


def test_each_set_lists_the_samples_of_its_table_in_their_order(lake: Lake) -> None:
    train(lake, load_profile("tiny"), SETS)
    for table, ids in zip(SETS, (range(N), range(1, N + 1), range(N)), strict=True):
        rows = lake.read(table).to_pylist()
        kind = "s" if table == "mixed_policy_training_set" else "r"
        assert [one["sample_id"] for one in rows] == [f"{kind}{number}" for number in ids]
        assert len({(one["sequence"], one["place"]) for one in rows}) == len(rows)
        assert all(one["n_prompt_tokens"] == one["n_masked_tokens"] > 5 for one in rows)


def test_a_sample_that_is_written_anew_after_it_was_encoded_gives_no_table(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose ids would be of other rows than the set."""
    versions = count()
    monkeypatch.setattr(Lake, "version", lambda *_: str(next(versions)))
    with pytest.raises(TrainingSetError, match=r"was written anew while training_sets/low_"):
        train(lake, load_profile("tiny"), [SETS[0]])
    assert not lake.exists(SETS[0])


def test_a_further_student_starts_from_itself_on_the_low_sample(lake: Lake, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(STUDENT, other)
    tiny = load_profile("tiny")
    training = tiny.temperature_scheduled_learning.model_copy(update={"epochs": 9})
    student = Student(path=str(other), training=training)
    profile = tiny.model_copy(update={"students": {"other": student}})
    own = ["student_training_set/other", "student_checkpoint/other"]
    low, note = train(lake, profile, [SETS[0], CHECKPOINTS[0], *own])
    assert note["asset"] == "student_checkpoint/other"
    assert note["model_path"] == note["expected_model_path"] == str(other)
    sets = [describe(Path(one["training_set"])).made_of for one in (low, note)]
    assert sets[0].sample_files == sets[1].sample_files
    rows = lake.read("student_training_set", {"student": "other"})
    assert rows.equals(lake.read("low_temperature_training_set"))
    assert (low["epochs"], note["epochs"]) == (tiny.temperature_scheduled_learning.epochs, 9)
    assert note["output"] == str(lake.current_checkpoint("other"))
    assert low["output"] == str(lake.current_checkpoint("low_temperature"))


def test_both_temperatures_are_trained_with_the_same_settings_and_the_third_for_one_epoch(
    lake: Lake,
) -> None:
    profile = load_profile("dasd-4b")
    low, high, dasd = train(lake, profile)
    own = {"asset", "output", "model_path", "training_set", "tags"}
    same = {name: value for name, value in low.items() if name not in own}
    assert {name: value for name, value in high.items() if name not in own} == same
    assert same.items() >= profile.temperature_scheduled_learning.model_dump(mode="json").items()
    apart = {name for name in same if dasd[name] != same[name]}
    assert apart == {"epochs"}
    assert (low["epochs"], dasd["epochs"]) == (6, 1)


def test_the_loss_covers_the_students_prefix_unless_masking_is_asked_for(lake: Lake) -> None:
    profile = load_profile("tiny")
    assert [masks(note) for note in train(lake, profile)] == [False] * 3
    mixed = profile.mixed_policy_distillation.model_copy(update={"mask_student_prefix": True})
    masked = profile.model_copy(update={"mixed_policy_distillation": mixed})
    before = lake.current_checkpoint("dasd")
    notes = train(lake, masked)
    assert [masks(note) for note in notes] == [False, False, True]
    assert lake.current_checkpoint("dasd") != before


def masks(note: dict[str, Any]) -> bool:
    return describe(Path(note["training_set"])).made_of.mask_student_prefix
