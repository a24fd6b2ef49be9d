"""The models that the pipeline starts from, checked before any work is spent on them."""

import dagster as dg

from dasd_assets.declaring.cost import took
from dasd_assets.declaring.declare import declared
from dasd_assets.models.students import resource_of
from dasd_assets.models.teacher_format import require_harmony
from dasd_assets.profile import Profile, Student
from resources.engines.inference import InferenceModel

GROUP = "models"


def build(profile: Profile) -> list[dg.AssetsDefinition]:
    """Assets of the box for one profile."""

    others = [_student_model(profile, *student) for student in profile.students.items()]
    teachers = [_teacher_model(profile)] if profile.teacher else []

    @dg.asset(
        **declared(GROUP, profile.compute.data, "1", profile.base_student, kinds={"huggingface"}),
    )
    def base_student(base_student_model: InferenceModel) -> dg.MaterializeResult:
        """The student before distillation: scores the responses and starts the training.

        ```text
        p_S = the base student, in every p_S of this graph
        data version = SHA-256 of the model's folder
        ```
        """
        return _inspected(base_student_model)

    return [*teachers, base_student, *others]


def _teacher_model(profile: Profile) -> dg.AssetsDefinition:
    @dg.asset(
        **declared(GROUP, profile.compute.data, "1", profile.teacher, kinds={"huggingface"}),
    )
    def teacher_model(teacher: InferenceModel) -> dg.MaterializeResult:
        """The teacher's folder: complete, consistent, with a chat template; it speaks Harmony.

        Reads no weights. A teacher whose answers the filters could not read is refused here, before
        anything is asked of it. Another model under the same path makes everything below stale.

        ```text
        data version = SHA-256 of every *.json, *.jinja and *.safetensors of the folder
        (of a large file its size and header)
        ```
        """
        require_harmony(teacher.inspect())
        return _inspected(teacher)

    return teacher_model


def _student_model(profile: Profile, name: str, student: Student) -> dg.AssetsDefinition:
    @dg.asset(
        key=["student_model", name],
        required_resource_keys={resource_of(name)},
        description=f"The further student `{name}` before distillation: its folder, checked "
        "without reading weights.\n\n```text\ndata version = SHA-256 of the model's folder\n```",
        **declared(GROUP, profile.compute.data, "1", student.model_dump(exclude={"training"}),
                   kinds={"huggingface"}),
    )  # fmt: skip
    def student_model(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        return _inspected(getattr(context.resources, resource_of(name)))

    return student_model


def _inspected(model: InferenceModel) -> dg.MaterializeResult:
    folder = model.inspect()
    return dg.MaterializeResult(
        data_version=dg.DataVersion(folder.content_hash[:16]),
        metadata={
            "path": dg.MetadataValue.path(str(folder.path)),
            "architecture": folder.architecture,
            "parameters": folder.n_parameters,
            "vocabulary": folder.vocab_size,
            "context_tokens": folder.max_position_embeddings,
            **took(),
        },
    )
