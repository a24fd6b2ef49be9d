"""The asset graph of a profile, its checks, jobs, sensors and resources."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg

import checks
from checks import training_proposals
from dasd_assets.declaring import alerts, automation, freshness, jobs, up_to_date
from dasd_assets.declaring.cost import with_prices
from dasd_assets.declaring.declare import with_place
from dasd_assets.divergence_sampling import assets as divergence_sampling
from dasd_assets.evaluation import assets as evaluation
from dasd_assets.mixed_policy_distillation import assets as mixed_policy_distillation
from dasd_assets.models import assets as models
from dasd_assets.models import students, teachers
from dasd_assets.profile import Model, Profile, ProfileError
from dasd_assets.profile.open_lake import open_lake
from dasd_assets.questions import assets as questions
from dasd_assets.questions.inbox import retiring, sensors
from dasd_assets.release import assets as release
from dasd_assets.response_filtering import assets as response_filtering
from dasd_assets.running import checks_alone
from dasd_assets.running.local_executor import local_executor
from dasd_assets.teacher_responses import assets as teacher_responses
from dasd_assets.temperature_scheduled_learning import assets as temperature_scheduled_learning
from resources.compute.declared import Compute
from resources.compute.training_launcher import TrainingLauncher
from resources.engines.inference import InferenceModel
from resources.engines.settings import EngineSettings, VllmSettings
from resources.lake.bucket_folder import bucket_of

BOXES = (
    models,
    questions,
    teacher_responses,
    response_filtering,
    divergence_sampling,
    temperature_scheduled_learning,
    mixed_policy_distillation,
    evaluation,
    release,
)
"""The boxes of the paper's figure and the release, in order of the data's way."""


def build_definitions(profile: Profile, folder: Path) -> dg.Definitions:
    """Everything Dagster needs to know about one profile.

    Args:
        profile: a validated profile.
        folder: its data folder.
    """
    lake = open_lake(profile, folder)
    root = bucket_of(Path(lake.root)) or lake.root
    training = profile.compute.training
    assets = [with_place(each, root) for box in BOXES for each in box.build(profile)]
    return dg.Definitions(
        assets=[
            sensors.question_drops(profile),
            *dg.with_source_code_references(
                automation.automated(
                    [freshness.expected(with_prices(each, profile), profile) for each in assets],
                    profile.divergence_sampling.require_all_shards,
                )
            ),
        ],
        asset_checks=[*checks.build(profile), sensors.check(profile)],
        jobs=[*jobs.build(profile), retiring.build(profile), checks_alone.build()],
        sensors=[
            sensors.build(profile),
            automation.sensor(profile.name),
            up_to_date.build(),
            *alerts.build(profile, list(training_proposals.proposing(profile))),
        ],
        resources={
            "lake": lake,
            # Where there is none, no asset opens it.
            "teacher": inference_model(profile.teacher, profile.compute.teacher_inference)
            if profile.teacher
            else InferenceModel(path="teacher: null", revision=None, engine={}, threads=1, gpus=0),
            "base_student_model": inference_model(
                profile.base_student, profile.compute.student_inference
            ),
            **{
                students.resource_of(name): inference_model(
                    student, profile.compute.student_inference
                )
                for name, student in profile.students.items()
            },
            **{
                teachers.resource_of(name): inference_model(
                    teacher, profile.compute.teacher_inference
                )
                for name, teacher in profile.teachers.items()
            },
            "trainer": TrainingLauncher(
                threads=int(training.cpus),
                gpus=training.gpus,
                gang=training.gang(),
                slurm=training.slurm.model_dump(exclude_none=True) if training.slurm else {},
                local_folder=training.local_folder or ("" if training.is_elsewhere else None),
                profile=profile.name,
            ),
        },
        executor=executor(),
    )


def executor() -> dg.ExecutorDefinition:
    """Where the steps of a run are executed: DASD_EXECUTOR.

    Unset: processes of the machine the run is on. `kubernetes`: a Kubernetes job for each step,
    with what its asset declares (docs/kubernetes.md). `ray`: likewise a job of a Ray cluster
    (docs/ray.md).

    Raises:
        ProfileError: another value.
    """
    match os.environ.get("DASD_EXECUTOR", ""):
        case "":
            return local_executor
        case "kubernetes":
            from dagster_k8s import k8s_job_executor

            return k8s_job_executor
        case "ray":
            from dasd_assets.running.ray_executor import ray_executor

            return ray_executor
        case chosen:
            raise ProfileError(
                f"DASD_EXECUTOR={chosen}: has to be kubernetes or ray, or unset for processes of "
                "this machine"
            )


def inference_model(model: Model, compute: Compute) -> InferenceModel:
    """The resource for a model of the profile; a folder's path is taken from the project root."""
    return InferenceModel(
        path=model.location,
        revision=model.revision,
        threads=max(1, int(compute.cpus)),
        gpus=compute.gpus,
        # Dagster takes no null inside a mapping; the defaults come back in `open`.
        engine=_engine_here(model.engine).model_dump(exclude_none=True),
        format=model.format.model_dump(exclude_none=True),
    )


def _engine_here(engine: EngineSettings) -> EngineSettings:
    """An engine as it can be had where the steps are.

    A step that is a job of a cluster has its GPUs from the cluster, which takes them for free when
    the job ends: no engine may outlive it.
    """
    if isinstance(engine, VllmSettings) and os.environ.get("DASD_EXECUTOR"):
        return engine.model_copy(update={"keep_alive_seconds": 0.0})
    return engine
