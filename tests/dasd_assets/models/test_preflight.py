"""What was tried of a model is known by all that it depends on, and not tried a second time."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.scripted_engine import ScriptedEngine, encode, tokenizer

from dasd_assets.models.formats_of_models import check_teacher, system_prompt_place
from dasd_assets.models.preflight import trained, training_problems, trials
from dasd_assets.profile import Profile, Teacher, load_profile
from formats.format_settings import AUTO
from resources.compute.declared import Compute
from resources.engines.model_folder import ModelFolderError
from resources.engines.settings import SyntheticSettings, VllmSettings
from resources.lake.lake import Lake
from training.settings import Training

TINY = load_profile("tiny")
GOOD = (
    "<|channel|>analysis<|message|>Two and two.<|end|><|start|>assistant"
    "<|channel|>final<|message|>It is 4.<|return|>"
)


class Model:
    """Stands for a resource: counts how often it is loaded."""

    def __init__(self, content: str = "a", says: str = GOOD) -> None:
        self.loaded = 0
        self._content, self._says = content, says

    def inspect(self) -> Any:
        return SimpleNamespace(content_hash=self._content)

    @contextmanager
    def open(self) -> Iterator[ScriptedEngine]:
        self.loaded += 1
        yield ScriptedEngine("teacher", lambda request: (encode("teacher", self._says), "stop"))


def once(profile: Profile, model: Model, lake: Lake) -> Any:
    return trials(profile)["teacher"].once(model, lake)  # type: ignore[arg-type]


def changed(section: str, **values: Any) -> Profile:
    there = getattr(TINY, section)
    return TINY.model_copy(update={section: there.model_copy(update=values)})


def test_it_is_loaded_and_asked_once(tmp_path: Path) -> None:
    lake, model = Lake(root=str(tmp_path)), Model()
    first = once(TINY, model, lake)
    assert once(TINY, model, lake) == first
    assert model.loaded == 1
    assert "tried on 20" in str(first)
    assert first.answer == GOOD


@pytest.mark.parametrize(
    ("profile", "content", "is_new"),
    [
        (TINY, "b", True),
        (TINY.model_copy(update={"system_prompt": "Be brief."}), "a", True),
        (changed("teacher_responses", reasoning_effort="low"), "a", True),
        (changed("response_filtering", require_reasoning=False), "a", True),
        (changed("teacher", engine=TINY.teacher.engine.model_copy(update={"dtype": "bfloat16"})),
         "a", True),
        (TINY.model_copy(update={"mixed_policy_distillation": None}), "a", True),
        (changed("teacher", questions=0.5), "a", False),
        (changed("temperature_scheduled_learning", learning_rate=1e-5), "a", False),
        (TINY.model_copy(update={"description": "another"}), "a", False),
    ],
)  # fmt: skip
def test_what_it_depends_on_has_it_tried_again(
    tmp_path: Path, profile: Profile, content: str, is_new: bool
) -> None:
    lake = Lake(root=str(tmp_path))
    once(TINY, Model(), lake)
    model = Model(content)
    once(profile, model, lake)
    assert model.loaded == is_new


def test_how_long_vllm_is_kept_has_nothing_tried_again(tmp_path: Path) -> None:
    lake, model = Lake(root=str(tmp_path)), Model()
    for seconds in (0.0, 300.0):
        engine = VllmSettings(keep_alive_seconds=seconds)
        once(changed("teacher", engine=engine), model, lake)
    assert model.loaded == 1


def test_what_failed_is_tried_again(tmp_path: Path) -> None:
    lake, bad = Lake(root=str(tmp_path)), Model(says="no format at all")
    for _ in range(2):
        with pytest.raises(ModelFolderError):
            once(TINY, bad, lake)
    assert bad.loaded == 2


def test_who_is_tried_for_what() -> None:
    other = Teacher(path=TINY.base_student.path, engine=SyntheticSettings())
    found = trials(TINY.model_copy(update={"teachers": {"other": other}}))
    assert list(found) == ["teacher", "teachers.other", "base_student"]
    assert [trial.is_real for trial in found.values()] == [True, False, True]
    continues = [trial.asking.continues for trial in found.values() if trial.asking]
    assert continues == [True, False]  # the first one alone finishes rollouts


@pytest.mark.parametrize(
    ("compute", "max_length", "told"),
    [
        (Compute(gpus=1, gpu_memory_gib=80), 512, ""),
        (Compute(gpus=1, gpu_memory_gib=1), 65_536, "a training step needs 4."),
        (Compute(gpus=1), 65_536, ""),  # nothing is declared to compare with
        (Compute(), 65_536, ""),
    ],
)
def test_one_step_of_training_against_the_declared_memory(
    compute: Compute, max_length: int, told: str
) -> None:
    training = Training(max_length=max_length, dtype="bfloat16")
    found = " ".join(training_problems(TINY.base_student, {"a_stage": training}, compute))
    assert bool(told) == bool(found), found
    if told:
        assert found.startswith(f"a_stage: {told}")
        assert "in bfloat16 without DeepSpeed on 1 process(es), 1 x 65,536 tokens" in found
        assert "gradient_checkpointing" in found


def test_all_trainings_are_compared() -> None:
    assert {name: sorted(settings) for name, _, settings in trained(TINY)} == {
        "base_student": ["mixed_policy_distillation.training", "temperature_scheduled_learning"]
    }


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{{ raise_exception('say who you are') }}", "does not render a question"),
        ("{% for m in messages %}{{ m['content'] }}<|end|>{% endfor %}", "would not stop there"),
    ],
)
def test_templates_that_no_question_could_be_asked_with(template: str, told: str) -> None:
    teacher = copy.deepcopy(tokenizer("teacher"))
    teacher.chat_template = template
    with pytest.raises(ModelFolderError, match=told):
        check_teacher(teacher, AUTO, has_reasoning=True)


def test_a_template_without_a_system_role_is_named() -> None:
    teacher = copy.deepcopy(tokenizer("teacher"))
    assert system_prompt_place(teacher) == "in the template's system role"
    refusing = copy.deepcopy(teacher)
    refusing.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        + teacher.chat_template
    )
    assert "no system role; nothing has to be set" in system_prompt_place(refusing)
    check_teacher(refusing, AUTO, has_reasoning=True)
