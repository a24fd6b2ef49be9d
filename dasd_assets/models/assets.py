"""The models that the pipeline starts from, checked before any work is spent on them."""

from typing import Any

import dagster as dg

from dasd_assets.declaring.cost import took
from dasd_assets.declaring.declare import declared
from dasd_assets.models import students, teachers
from dasd_assets.models.formats_of_models import check_student, check_teacher, rendered_example
from dasd_assets.profile import Profile, Student, Teacher, settings_version
from formats.model_format import AUTO, FormatSettings, ModelFormat
from resources.engines.inference import InferenceModel

GROUP = "models"


def build(profile: Profile) -> list[dg.AssetsDefinition]:
    """Assets of the box for one profile."""
    has_reasoning = profile.response_filtering.require_reasoning

    @dg.asset(
        **declared(
            GROUP,
            profile.compute.data,
            "2",
            profile.base_student,
            has_reasoning,
            kinds={"huggingface"},
        ),
    )
    def base_student(base_student_model: InferenceModel) -> dg.MaterializeResult:
        """The student before distillation: scores the responses and starts the training.

        ```text
        p_S = the base student, in every p_S of this graph
        data version = SHA-256 of the model's folder
        ```
        """
        found = check_student(
            base_student_model.tokenizer(), profile.base_student.format,
            has_reasoning=has_reasoning,
        )  # fmt: skip
        return _inspected(base_student_model, profile.base_student.format, found)

    others = [_student_model(profile, *student) for student in profile.students.items()]
    first = [_teacher_model(profile, profile.teacher)] if profile.teacher else []
    further = [_further_teacher(profile, *teacher) for teacher in profile.teachers.items()]
    return [*first, *further, base_student, *others]


def _teacher_model(profile: Profile, settings: Teacher) -> dg.AssetsDefinition:
    has_reasoning = profile.response_filtering.require_reasoning

    @dg.asset(
        **declared(
            GROUP, profile.compute.data, "2", _of_model(settings), has_reasoning,
            kinds={"huggingface"},
        ),
    )  # fmt: skip
    def teacher_model(teacher: InferenceModel) -> dg.MaterializeResult:
        """The teacher's folder: complete, consistent, with a chat template and a known format.

        Reads no weights. A teacher whose answers the filters could not read, or whose tokenizer
        loses text, is refused here, before anything is asked of it. Another model under the same
        path makes everything below stale.

        ```text
        data version = SHA-256 of every *.json, *.jinja and *.safetensors of the folder
        (of a large file its size and header)
        ```
        """
        found = check_teacher(teacher.tokenizer(), settings.format, has_reasoning=has_reasoning)
        return _inspected(teacher, settings.format, found)

    return teacher_model


def _of_model(teacher: Teacher) -> dict[str, Any]:
    """A teacher's settings but for which questions it answers, which is nothing of the model."""
    return teacher.model_dump(mode="json", exclude={"questions"})


def _further_teacher(profile: Profile, name: str, settings: Teacher) -> dg.AssetsDefinition:
    has_reasoning = profile.response_filtering.require_reasoning

    @dg.asset(
        key=["teacher_model", name],
        required_resource_keys={teachers.resource_of(name)},
        description=f"The further teacher `{name}`: its folder and its format, checked without "
        "reading weights, before anything is asked of it.\n\n```text\n"
        "data version = SHA-256 of the model's folder\n```",
        **declared(GROUP, profile.compute.data, "2", _of_model(settings), has_reasoning,
                   kinds={"huggingface"}),
    )  # fmt: skip
    def teacher_model(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        model: InferenceModel = getattr(context.resources, teachers.resource_of(name))
        found = check_teacher(model.tokenizer(), settings.format, has_reasoning=has_reasoning)
        return _inspected(model, settings.format, found)

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
        return _inspected(model, student.format, found)

    return student_model


def _inspected(
    model: InferenceModel, settings: FormatSettings, found: ModelFormat
) -> dg.MaterializeResult:
    folder = model.inspect()
    version = folder.content_hash[:16]
    if settings != AUTO:  # another format makes other texts and tokens of the same weights
        version = settings_version(version, settings)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(version),
        metadata={
            "format": found.format.name,
            "example": dg.MetadataValue.md(f"````text\n{rendered_example(found)}\n````"),
            "path": dg.MetadataValue.path(str(folder.path)),
            "architecture": folder.architecture,
            "parameters": folder.n_parameters,
            "vocabulary": folder.vocab_size,
            "context_tokens": folder.max_position_embeddings,
            **took(),
        },
    )
