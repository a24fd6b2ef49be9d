"""The models that the pipeline starts from, checked before any work is spent on them."""

from typing import Any

import dagster as dg

from dasd_assets.declaring.cost import took
from dasd_assets.declaring.declare import declared
from dasd_assets.models import students, teachers
from dasd_assets.models.formats_of_models import (
    check_student,
    rendered_example,
    system_prompt_place,
)
from dasd_assets.models.preflight import STUDENT, training_problems, trials
from dasd_assets.profile import Model, Profile, Student, Teacher, settings_version
from dasd_assets.profile.teachers import FIRST
from formats.format_settings import AUTO, FormatSettings
from formats.model_format import ModelFormat
from resources.engines.inference import InferenceModel
from resources.engines.model_folder import ModelFolderError
from resources.lake.lake import Lake
from training.settings import Training

GROUP = "models"


def build(profile: Profile) -> list[dg.AssetsDefinition]:
    """Assets of the box for one profile."""
    has_reasoning = profile.response_filtering.require_reasoning

    @dg.asset(
        **declared(
            GROUP,
            profile.compute.student_inference,
            "2",
            profile.base_student,
            has_reasoning,
            kinds={"huggingface"},
        ),
    )
    def base_student(lake: Lake, base_student_model: InferenceModel) -> dg.MaterializeResult:
        """The student before distillation: scores the responses and starts the training.

        Its files, its format and the memory that its training needs are checked, and it scores an
        example answer; what was tried once is remembered (`_trials/` in the lake).

        ```text
        p_S = the base student, in every p_S of this graph
        data version = SHA-256 of the model's folder
        ```
        """
        _require_memory(profile, profile.base_student, profile.base_trainings)
        return _tried(profile, STUDENT, profile.base_student, base_student_model, lake)

    others = [_student_model(profile, *student) for student in profile.students.items()]
    first = [_teacher_model(profile, profile.teacher)] if profile.teacher else []
    further = [_further_teacher(profile, *teacher) for teacher in profile.teachers.items()]
    return [*first, *further, base_student, *others]


def _teacher_model(profile: Profile, settings: Teacher) -> dg.AssetsDefinition:
    has_reasoning = profile.response_filtering.require_reasoning

    @dg.asset(
        **declared(
            GROUP, profile.compute.teacher_inference, "2", _of_model(settings), has_reasoning,
            kinds={"huggingface"},
        ),
    )  # fmt: skip
    def teacher_model(lake: Lake, teacher: InferenceModel) -> dg.MaterializeResult:
        """The teacher's folder: complete, consistent, with a chat template and a known format.

        One question is answered: a teacher whose answers the filters could not read, that tells no
        logprobs, or whose tokenizer loses text, is refused here, before all others are asked. What
        was tried once is remembered (`_trials/` in the lake). Another model under the same path
        makes everything below stale.

        ```text
        data version = SHA-256 of every *.json, *.jinja and *.safetensors of the folder
        (of a large file its size and header)
        ```
        """
        return _tried(profile, FIRST, settings, teacher, lake)

    return teacher_model


def _of_model(teacher: Teacher) -> dict[str, Any]:
    """A teacher's settings but for which questions it answers, which is nothing of the model."""
    return teacher.model_dump(mode="json", exclude={"questions"})


def _further_teacher(profile: Profile, name: str, settings: Teacher) -> dg.AssetsDefinition:
    has_reasoning = profile.response_filtering.require_reasoning

    @dg.asset(
        key=["teacher_model", name],
        required_resource_keys={"lake", teachers.resource_of(name)},
        description=f"The further teacher `{name}`: its folder and its format are checked, and one "
        "question is answered, before all others are asked.\n\n```text\n"
        "data version = SHA-256 of the model's folder\n```",
        **declared(GROUP, profile.compute.teacher_inference, "2", _of_model(settings),
                   has_reasoning,
                   kinds={"huggingface"}),
    )  # fmt: skip
    def teacher_model(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        model: InferenceModel = getattr(context.resources, teachers.resource_of(name))
        return _tried(profile, f"teachers.{name}", settings, model, context.resources.lake)

    return teacher_model


def _student_model(profile: Profile, name: str, student: Student) -> dg.AssetsDefinition:
    @dg.asset(
        key=["student_model", name],
        required_resource_keys={students.resource_of(name)},
        description=f"The further student `{name}` before distillation: its folder, checked "
        "without reading weights.\n\n```text\ndata version = SHA-256 of the model's folder\n```",
        **declared(GROUP, profile.compute.data, "2", student.model_dump(exclude={"training"}),
                   profile.response_filtering.require_reasoning, kinds={"huggingface"}),
    )  # fmt: skip
    def student_model(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        model: InferenceModel = getattr(context.resources, students.resource_of(name))
        found = check_student(
            model.tokenizer(), student.format,
            has_reasoning=profile.response_filtering.require_reasoning,
        )  # fmt: skip
        training = {f"students.{name}.training": profile.student_training(name)}
        _require_memory(profile, student, training)
        return _inspected(model, student.format, found)

    return student_model


def _require_memory(profile: Profile, student: Model, trainings: dict[str, Training]) -> None:
    """Refuse a student whose training does not fit into the declared GPUs.

    Raises:
        ModelFolderError: what a step needs, and of what.
    """
    if problems := list(training_problems(student, trainings, profile.compute.training)):
        raise ModelFolderError("; ".join(problems))


def _tried(
    profile: Profile, name: str, settings: Model, model: InferenceModel, lake: Lake
) -> dg.MaterializeResult:
    """The model's check, and what was found when it was loaded and asked.

    Args:
        name: as in `trials`; a rehearsal's model, which makes answers up, has none.
    """
    trial = trials(profile)[name]
    found = trial.check(model.tokenizer())
    if not trial.is_real:
        return _inspected(model, settings.format, found)
    told = trial.once(model, lake)
    answer = {"answered": dg.MetadataValue.md(f"````text\n{told.answer}\n````")}
    return _inspected(
        model, settings.format, found, trial=str(told), **(answer if told.answer else {})
    )


def _inspected(
    model: InferenceModel, settings: FormatSettings, found: ModelFormat, **tried: Any
) -> dg.MaterializeResult:
    folder = model.inspect()
    version = folder.content_hash[:16]
    if settings != AUTO:  # another format makes other texts and tokens of the same weights
        version = settings_version(version, settings)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(version),
        metadata={
            "format": found.format.name,
            **tried,
            "system_prompt": system_prompt_place(found.tokenizer),
            "example": dg.MetadataValue.md(f"````text\n{rendered_example(found)}\n````"),
            "path": dg.MetadataValue.path(str(folder.path)),
            "architecture": folder.architecture,
            "parameters": folder.n_parameters,
            "vocabulary": folder.vocab_size,
            "context_tokens": folder.max_position_embeddings,
            **took(),
        },
    )
