"""The models are looked at, and tried once, before work is spent on them."""

from pathlib import Path

import dagster as dg
import pytest

from dasd_assets.graph import inference_model
from dasd_assets.models import assets
from dasd_assets.profile import PROJECT_ROOT, load_profile
from resources.engines.inference import InferenceModel
from resources.engines.model_folder import ModelFolderError
from resources.lake.lake import Lake

TINY = load_profile("tiny")


def look_at(name: str, lake: Lake, **resources: InferenceModel) -> dict[str, dg.MetadataValue]:
    models = {
        "teacher": inference_model(TINY.teacher, TINY.compute.teacher_inference),
        "base_student_model": inference_model(TINY.base_student, TINY.compute.student_inference),
    }
    result = dg.materialize(
        assets.build(TINY), selection=[name], resources={"lake": lake, **models, **resources}
    )
    (event,) = result.get_asset_materialization_events()
    return dict(event.step_materialization_data.materialization.metadata)


def test_the_format_of_a_teacher_has_to_be_known(tmp_path: Path) -> None:
    student = InferenceModel(path=str(PROJECT_ROOT / TINY.base_student.path), engine={})
    with pytest.raises(
        ModelFolderError, match=r"was not found.* renders .*looked for.*Name it.*Nothing was asked"
    ):
        look_at("teacher_model", Lake(root=str(tmp_path)), teacher=student)


@pytest.mark.slow
def test_what_was_tried_is_shown_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(root=str(tmp_path))
    shown = look_at("teacher_model", lake)
    assert "in format harmony, with raw_logprobs, one per token" in str(shown["trial"].value)
    assert "<|channel|>final" in str(shown["answered"].value)
    assert shown["system_prompt"].value == "in the template's system role"
    assert "scored" in str(look_at("base_student", lake)["trial"].value)

    def loaded(self: InferenceModel, path: str | None = None) -> None:
        raise AssertionError("loaded a second time")

    monkeypatch.setattr(InferenceModel, "open", loaded)
    assert look_at("teacher_model", lake)["trial"] == shown["trial"]
