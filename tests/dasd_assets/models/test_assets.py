"""The models are looked at before work is spent on them."""

import dagster as dg
import pytest

from dasd_assets.models import assets
from dasd_assets.profile import PROJECT_ROOT, load_profile
from resources.engines.inference import InferenceModel
from resources.engines.model_folder import ModelFolderError

MODELS = PROJECT_ROOT / "tiny_world" / "models"


def look_at_teacher(name: str) -> None:
    teacher = InferenceModel(path=str(MODELS / name), engine={})
    resources = {"teacher": teacher, "base_student_model": teacher}
    models = assets.build(load_profile("tiny"))
    assert dg.materialize(models, selection=["teacher_model"], resources=resources).success


def test_the_format_of_a_teacher_has_to_be_known() -> None:
    look_at_teacher("teacher")
    with pytest.raises(
        ModelFolderError, match=r"was not found.* renders .*looked for.*Name it.*Nothing was asked"
    ):
        look_at_teacher("student")
