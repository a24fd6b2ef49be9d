"""What `dasd doctor` and `dasd run` find by loading the models and asking them one question."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from dasd_assets.cli import doctor_machine as machine
from dasd_assets.cli.doctor_machine import OK, PROBLEM, WARNING, Result
from dasd_assets.models.preflight import STUDENT, Trial, trained, training_problems, trials
from dasd_assets.profile import Profile
from resources.compute.declared import Compute
from resources.engines.model_folder import ModelFolderError
from resources.engines.protocol import EngineUnavailableError

if TYPE_CHECKING:
    from resources.engines.inference import InferenceModel
    from resources.lake.lake import Lake

GUIDES = {True: "bring-your-own-teacher", False: "bring-your-own-student"}
"""Whether it is a teacher -> page that explains its settings."""


def training_memory(profile: Profile) -> Iterator[Result]:
    """One training step of each student against the declared GPU memory, by formula."""
    compute = profile.compute.training
    for name, student, trainings in trained(profile):
        try:
            problems = list(training_problems(student, trainings, compute))
        except ModelFolderError:
            continue  # `models` says so
        for problem in problems:
            yield Result(PROBLEM, problem, "`dasd plan` shows the memory of other settings")
        if not problems and compute.gpus and compute.gpu_memory_gib:
            yield Result(OK, f"a training step of {name} fits into {compute.gpu_memory_gib} GiB")


def tried(profile: Profile, only: Collection[str] = ()) -> Iterator[Result]:
    """Teachers answer one question, the student scores an answer; what is known is not asked.

    Args:
        only: names of trials; empty: all.
    """
    from dasd_assets.profile.open_lake import open_lake

    lake = open_lake(profile)
    n_gpus = len(machine.gpu_memories())
    for name, trial in trials(profile).items():
        if trial.is_real and (not only or name in only):
            yield _tried(name, trial, model_of(profile, name), lake, n_gpus)


def model_of(profile: Profile, name: str) -> InferenceModel:
    """The resource of a model, by its name among the trials."""
    from dasd_assets.graph import inference_model

    compute = _compute_of(profile, name)
    return inference_model(trials(profile)[name].model, compute)


def untried(profile: Profile, lake: Lake, among: Collection[str]) -> list[str]:
    """Of these models, those that were not tried as they are used now; no other is looked at."""
    return [
        name
        for name, trial in trials(profile).items()
        if name in among
        and trial.is_real
        and trial.remembered(model_of(profile, name), lake) is None
    ]


def _compute_of(profile: Profile, name: str) -> Compute:
    compute = profile.compute
    return compute.student_inference if name == STUDENT else compute.teacher_inference


def _tried(name: str, trial: Trial, model: InferenceModel, lake: Lake, n_gpus: int) -> Result:
    from resources.engines.openai_client import RequestFailedError
    from resources.engines.openai_requests import UnsupportedRequestError

    needed = 0 if trial.model.engine.kind == "openai" else model.gpus
    try:
        if needed > n_gpus and trial.remembered(model, lake) is None:
            return Result(
                WARNING, f"{name}: not tried: it needs {needed} GPU(s), there are {n_gpus}",
                "run `dasd doctor` where the steps run; `dasd run` tries it before it is paid for",
            )  # fmt: skip
        return Result(OK, f"{name}: {trial.once(model, lake)}")
    except (
        ModelFolderError, EngineUnavailableError, RequestFailedError, UnsupportedRequestError,
    ) as error:  # fmt: skip
        return Result(
            PROBLEM, f"{name}: {error}", f"see `dasd docs {GUIDES[trial.asking is not None]}`"
        )
