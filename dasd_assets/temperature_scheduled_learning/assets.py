"""Temperature-scheduled learning: low-temperature answers first, then high (paper section 3)."""

from typing import Any

import dagster as dg

from dasd_assets.declaring.declare import declared
from dasd_assets.models.students import resource_of
from dasd_assets.partitions import TEMPERATURE, only
from dasd_assets.profile import Profile
from dasd_assets.temperature_scheduled_learning.stage import train_stage
from resources.compute.training_launcher import TrainingLauncher
from resources.engines.inference import InferenceModel
from resources.lake.lake import Lake

GROUP = "temperature_scheduled_learning"


def build(profile: Profile) -> list[dg.AssetsDefinition]:
    """Assets of the box for one profile."""
    settings = profile.temperature_scheduled_learning

    def declaration(checkpoint: str) -> dict[str, Any]:
        return declared(
            GROUP, profile.compute.training, "3", settings.shaping(), profile.system_prompt,
            kinds={"pytorch", "huggingface"}, stored=f"checkpoints/{checkpoint}",
        )  # fmt: skip

    @dg.asset(
        deps=["base_student", dg.AssetDep("divergence_sample", partition_mapping=only("low"))],
        **declaration("low_temperature"),
    )
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
            sample=lake.verified_path("divergence_sample", {TEMPERATURE: "low"}),
            settings=settings,
            system_prompt=profile.system_prompt,
            format=profile.base_student.format,
        )  # fmt: skip

    @dg.asset(
        deps=[
            low_temperature_checkpoint,
            dg.AssetDep("divergence_sample", partition_mapping=only("high")),
        ],
        **declaration("high_temperature"),
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
            sample=lake.verified_path("divergence_sample", {TEMPERATURE: "high"}),
            settings=settings,
            system_prompt=profile.system_prompt,
            format=profile.base_student.format,
        )  # fmt: skip

    others = [_student_checkpoint(profile, name) for name in profile.students]
    return [low_temperature_checkpoint, high_temperature_checkpoint, *others]


def _student_checkpoint(profile: Profile, name: str) -> dg.AssetsDefinition:
    settings = profile.student_training(name)

    @dg.asset(
        key=["student_checkpoint", name],
        deps=[
            dg.AssetKey(["student_model", name]),
            dg.AssetDep("divergence_sample", partition_mapping=only("low")),
        ],
        # All by key: Dagster takes no parameters beside keys, and this one is known here only.
        required_resource_keys={"lake", "trainer", "base_student_model", resource_of(name)},
        description=f"The further student `{name}`, fine-tuned on the low-temperature sample that "
        "was chosen for the base student (the paper's Table 8).\n\n"
        "The sample's text is encoded with its own tokenizer; a row that is too long for it is "
        "refused by name before training.\n\n"
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
            sample=resources.lake.verified_path("divergence_sample", {TEMPERATURE: "low"}),
            settings=settings,
            system_prompt=profile.system_prompt,
            format=profile.students[name].format,
            counted_by=resources.base_student_model.inspect().path,
        )  # fmt: skip

    return student_checkpoint
