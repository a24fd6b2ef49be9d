"""What is tried of a profile's models before anything is paid for, once for all.

A finding is kept in the lake under the hash of what it depends on (the model's files, its settings,
how it is asked), so that `dasd doctor`, `dasd run` and the assets of the models do not load the
model, or buy an answer, a second time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dasd_assets.models.formats_of_models import check_student, check_teacher
from dasd_assets.models.shapes import shape_of_files
from dasd_assets.models.training_memory import training_problem
from dasd_assets.models.trial import Asking, Found, try_student, try_teacher
from dasd_assets.profile import Model, Profile, settings_version
from dasd_assets.profile.teachers import FIRST
from formats.model_format import ModelFormat
from resources.compute.declared import Compute
from resources.engines.settings import SYNTHETIC
from training.settings import Training

if TYPE_CHECKING:
    from resources.engines.inference import InferenceModel
    from resources.lake.lake import Lake

VERSION = 1
"""Raise it when more is tried, so that what was tried before is tried again."""
STUDENT = "base_student"


@dataclass(frozen=True)
class Trial:
    """One model of a profile, and how it is used."""

    model: Model
    has_reasoning: bool
    system_prompt: str
    asking: Asking | None
    """Of a teacher; a student scores."""

    @property
    def is_real(self) -> bool:
        """Whether there is a model; a rehearsal's answers are made up."""
        return self.model.engine.kind != SYNTHETIC

    def check(self, tokenizer: Any) -> ModelFormat:
        """What its tokenizer tells; no weights are read and nothing is asked.

        Raises:
            ModelFolderError: it cannot be asked, read or trained in its format.
        """
        check = check_teacher if self.asking else check_student
        return check(tokenizer, self.model.format, has_reasoning=self.has_reasoning)

    def remembered(self, model: InferenceModel, lake: Lake) -> Remembered | None:
        """What was found when the same was tried before; None if it was not."""
        kept = lake.content(self._file(model))
        return Remembered(**json.loads(kept)) if kept else None

    def once(self, model: InferenceModel, lake: Lake) -> Remembered:
        """What was found before, or is found now: the model is loaded, and asked.

        Raises:
            ModelFolderError, EngineUnavailableError, RequestFailedError: as `models.trial`.
        """
        if known := self.remembered(model, lake):
            return known
        with model.open() as engine:
            if self.asking:
                found = try_teacher(engine, self.asking)
            else:
                found = try_student(engine, self.system_prompt, has_reasoning=self.has_reasoning)
        kept = Remembered(found.text, found.answer, datetime.now(UTC).date().isoformat())
        lake.put(self._file(model), json.dumps(asdict(kept)).encode())
        return kept

    def _file(self, model: InferenceModel) -> str:
        # How long vLLM is kept for the next step makes its answers no others.
        without: Any = {"questions": True, "engine": {"keep_alive_seconds"}}
        settings = self.model.model_dump(mode="json", exclude=without)
        asking = self.asking and asdict(self.asking)
        if asking and not asking["top_logprobs"]:
            del asking["top_logprobs"]  # what was tried before there was such a setting holds
        used = [self.has_reasoning, self.system_prompt, asking]
        version = settings_version(VERSION, model.inspect().content_hash, settings, used)
        return f"_trials/{version}.json"


@dataclass(frozen=True)
class Remembered(Found):
    """What a trial found, and on which day (UTC)."""

    day: str = ""

    def __str__(self) -> str:
        return f"{self.text} (tried on {self.day})"


def trained(profile: Profile) -> Iterator[tuple[str, Model, Mapping[str, Training]]]:
    """Each student with the names and settings of its trainings."""
    yield STUDENT, profile.base_student, profile.base_trainings
    for name, student in profile.students.items():
        settings = {f"students.{name}.training": profile.student_training(name)}
        yield f"students.{name}", student, settings


def training_problems(
    model: Model, trainings: Mapping[str, Training], compute: Compute
) -> Iterator[str]:
    """What does not fit into a declared GPU of training a student, by formula.

    Args:
        trainings: name of the settings -> settings.
    """
    if not compute.gpus or not compute.gpu_memory_gib:
        return
    found = model.inspect()
    if not found.n_parameters:
        return
    shape = shape_of_files(found.path, found.n_parameters)
    for name, training in trainings.items():
        if problem := training_problem(training, shape, compute.gpu_memory_gib):
            yield (
                f"{name}: a training step needs {problem}. Lower micro_batch_size or max_length, "
                "set gradient_checkpointing, liger_kernel or lora, cut the model over more "
                "processes (deepspeed_zero_stage: 3), or declare the GPUs that there are "
                "(compute.training.gpu_memory_gib)"
            )


def trials(profile: Profile) -> dict[str, Trial]:
    """Name as in the profile -> what is tried of it, teachers first."""
    has_reasoning = profile.response_filtering.require_reasoning
    responses = profile.teacher_responses
    found = {STUDENT: Trial(profile.base_student, has_reasoning, profile.system_prompt, None)}
    for name, teacher in reversed(profile.answerers.items()):
        asking = Asking(
            system_prompt=profile.system_prompt,
            reasoning_effort=responses.reasoning_effort,
            temperature=min(responses.temperatures.values()),
            top_p=responses.top_p,
            max_tokens=responses.max_tokens,
            seed=profile.seed,
            has_reasoning=has_reasoning,
            continues=name == FIRST and not profile.no_mixed_policy,
            top_logprobs=responses.top_logprobs,
        )
        key = name if name == FIRST else f"teachers.{name}"
        found = {key: Trial(teacher, has_reasoning, profile.system_prompt, asking)} | found
    return found
