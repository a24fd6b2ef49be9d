"""Temperature-scheduled learning: low-temperature answers first, then high (paper section 3)."""

from typing import Any

import dagster as dg

from dasd_assets.declaring.declare import declared
from dasd_assets.models.students import resource_of
from dasd_assets.partitions import TEMPERATURE, only
from dasd_assets.profile import Profile
from dasd_assets.temperature_scheduled_learning.stage import train_stage
from dasd_assets.temperature_scheduled_learning.training_set import (
    set_declaration,
    workers_of,
    write_training_set,
)
from resources.compute.training_launcher import TrainingLauncher
from resources.engines.inference import InferenceModel
from resources.lake.lake import Lake

GROUP = "temperature_scheduled_learning"
PACKED = """Samples are packed into sequences, each sample whole. Made once, its batches certified.

```text
sample = prompt ‖ response ‖ end token,   loss on response and end token alone
sequence = sample ‖ sample ‖ …,   Σ tokens ≤ max_length
```
"""


def build(profile: Profile) -> list[dg.AssetsDefinition]:
    """Assets of the box for one profile."""
    settings = profile.temperature_scheduled_learning

    def declaration(checkpoint: str) -> dict[str, Any]:
        return declared(
            GROUP, profile.compute.training, "3", settings.shaping(), profile.system_prompt,
            kinds={"pytorch", "huggingface"}, stored=f"checkpoints/{checkpoint}",
        )  # fmt: skip

    def packed(temperature: str) -> dg.AssetsDefinition:
        checkpoint = f"{temperature}_temperature"

        @dg.asset(
            name=f"{checkpoint}_training_set",
            deps=[
                "base_student",
                dg.AssetDep("divergence_sample", partition_mapping=only(temperature)),
            ],
            description=f"The `{temperature}` sample as the base student's tokens, packed: what "
            f"`{checkpoint}_checkpoint` maps and is trained on.\n\n{PACKED}",
            **set_declaration(
                profile, settings, checkpoint, f"{checkpoint}_training_set", group=GROUP
            ),
        )
        def training_set(
            context: dg.AssetExecutionContext, lake: Lake, base_student_model: InferenceModel
        ) -> dg.MaterializeResult:
            return write_training_set(
                context, lake,
                checkpoint=checkpoint,
                table=f"{checkpoint}_training_set",
                sample=("divergence_sample", "response_id", {TEMPERATURE: temperature}),
                model=base_student_model.inspect().path,
                settings=settings,
                system_prompt=profile.system_prompt,
                format=profile.base_student.format,
                workers=workers_of(profile),
            )  # fmt: skip

        return training_set

    low_training_set, high_training_set = packed("low"), packed("high")

    @dg.asset(deps=["base_student", low_training_set], **declaration("low_temperature"))
    def low_temperature_checkpoint(
        context: dg.AssetExecutionContext,
        lake: Lake,
        trainer: TrainingLauncher,
        base_student_model: InferenceModel,
    ) -> dg.MaterializeResult:
        """Stage 1: the base student, fine-tuned on the low-temperature divergence sample.

        Low temperature is sharp: few modes, easily learned.

        ```text
        θ₁ = argmin_θ  −Σ_(x,y) Σ_i log p_θ(y_i | x, y_<i),   (x, y) in the low sample, from θ₀
        loss on the answer only, packed sequences, cosine learning rate
        ```
        """
        return train_stage(
            context, lake, trainer,
            checkpoint="low_temperature",
            start=base_student_model.inspect().path,
            expected=base_student_model.inspect().path,
            settings=settings,
            format=profile.base_student.format,
        )  # fmt: skip

    @dg.asset(
        deps=[low_temperature_checkpoint, high_training_set], **declaration("high_temperature")
    )
    def high_temperature_checkpoint(
        context: dg.AssetExecutionContext,
        lake: Lake,
        trainer: TrainingLauncher,
        base_student_model: InferenceModel,
    ) -> dg.MaterializeResult:
        """Stage 2: stage 1's checkpoint, fine-tuned on the high-temperature divergence sample.

        High temperature covers more of the teacher's modes.

        ```text
        θ₂ = argmin_θ  −Σ_(x,y) Σ_i log p_θ(y_i | x, y_<i),   (x, y) in the high sample, from θ₁
        ```
        """
        return train_stage(
            context, lake, trainer,
            checkpoint="high_temperature",
            start=lake.current_checkpoint("low_temperature"),
            expected=base_student_model.inspect().path,
            settings=settings,
            format=profile.base_student.format,
        )  # fmt: skip

    others = [
        make(profile, name)
        for name in profile.students
        for make in (_student_training_set, _student_checkpoint)
    ]
    return [
        low_training_set, high_training_set, low_temperature_checkpoint,
        high_temperature_checkpoint, *others,
    ]  # fmt: skip


def _student_training_set(profile: Profile, name: str) -> dg.AssetsDefinition:
    settings = profile.student_training(name)

    @dg.asset(
        key=["student_training_set", name],
        deps=[
            dg.AssetKey(["student_model", name]),
            dg.AssetDep("divergence_sample", partition_mapping=only("low")),
        ],
        required_resource_keys={"lake", "base_student_model", resource_of(name)},
        description=f"The low-temperature sample as tokens of the further student `{name}`, packed:"
        " its text is encoded with its own tokenizer. A row that is too long for it is refused by "
        f"name.\n\n{PACKED}",
        **set_declaration(profile, settings, name, "student_training_set", group=GROUP),
    )
    def student_training_set(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        resources = context.resources
        return write_training_set(
            context, resources.lake,
            checkpoint=name,
            table="student_training_set",
            sample=("divergence_sample", "response_id", {TEMPERATURE: "low"}),
            model=getattr(resources, resource_of(name)).inspect().path,
            settings=settings,
            system_prompt=profile.system_prompt,
            format=profile.students[name].format,
            counted_by=resources.base_student_model.inspect().path,
            partition={"student": name},
            workers=workers_of(profile),
        )  # fmt: skip

    return student_training_set


def _student_checkpoint(profile: Profile, name: str) -> dg.AssetsDefinition:
    settings = profile.student_training(name)

    @dg.asset(
        key=["student_checkpoint", name],
        deps=[
            dg.AssetKey(["student_model", name]),
            dg.AssetKey(["student_training_set", name]),
        ],
        # All by key: Dagster takes no parameters beside keys, and this one is known here only.
        required_resource_keys={"lake", "trainer", resource_of(name)},
        description=f"The further student `{name}`, fine-tuned on the low-temperature sample that "
        "was chosen for the base student (the paper's Table 8).\n\n"
        "```text\n"
        "θ = argmin_θ  −Σ_(x,y) Σ_i log p_θ(y_i | x, y_<i),   (x, y) in the low sample\n"
        "```",
        **declared(
            GROUP, profile.compute.training, "1", settings.shaping(), profile.system_prompt,
            kinds={"pytorch", "huggingface"}, stored=f"checkpoints/{name}",
        ),
    )  # fmt: skip
    def student_checkpoint(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        resources = context.resources
        student: InferenceModel = getattr(resources, resource_of(name))
        start = student.inspect().path
        return train_stage(
            context, resources.lake, resources.trainer,
            checkpoint=name,
            start=start,
            expected=start,
            settings=settings,
            format=profile.students[name].format,
        )  # fmt: skip

    return student_checkpoint
