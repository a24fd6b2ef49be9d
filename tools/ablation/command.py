"""`python -m tools.ablation`: the paper's claims tried in small, on the data of a finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pyarrow as pa
import typer

from dasd_assets.cli.exits import EXIT_FAILED, refusing
from dasd_assets.profile import Model, Profile, ProfileError, settings_version
from dasd_assets.profile.home import active_profile, home
from tools.ablation.arms import ARMS, DRAWS, Arm
from tools.ablation.steps import Step, record, steps_of

if TYPE_CHECKING:
    from resources.lake.lake import Lake

FOLDER = "ablation"
"""Below the data folder: a lake of its own, a partition for each seed."""


@dataclass(frozen=True)
class Inputs:
    """What every process is given; the profile as JSON, since its classes cannot be pickled."""

    profile: str
    store: str
    questions: dict[str, pa.Table]
    references: dict[str, str]
    commit: str


def ablation(
    seeds: Annotated[int, typer.Option(min=2, help="Every arm is trained with so many.")] = 5,
    workers: Annotated[int, typer.Option(min=1, help="Processes side by side, a core each.")] = 2,
    data: Annotated[
        Path | None,
        typer.Option("--home", help="Data folder of a finished run. Default: the profile's."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The page; its pictures go to `images` beside it. Default: `results.md` in "
            "`ablation` below the data folder."
        ),
    ] = None,
) -> None:
    """Train the student in every way that the paper compares, and write down what came out.

    Starts from the filtered and scored answers of a finished `dasd run`. What is finished is kept:
    the same command again does only what is missing, and a larger number of seeds adds to it.
    """
    from resources.engines.model_folder import ModelFolderError
    from resources.lake.table import ContractError
    from tools.ablation.page import write_page
    from tools.ablation.side_by_side import StepFailedError

    with refusing(ProfileError, ContractError, ModelFolderError, OSError):
        profile = active_profile()
        folder = data.resolve() if data else home(profile)
        try:
            store, steps = run_ablation(profile, folder, list(range(seeds)), workers)
        except StepFailedError as error:
            typer.secho(f"{error}\nMend the cause and run the same again: what is done is kept.",
                        fg=typer.colors.RED, err=True)  # fmt: skip
            raise typer.Exit(EXIT_FAILED) from error
        page = out or folder / FOLDER / "results.md"
        for line in write_page(page, store, profile, steps, ARMS):
            typer.echo(line)
    typer.echo(f"\n{page}")


def run_ablation(
    profile: Profile,
    folder: Path,
    seeds: Sequence[int],
    workers: int,
    arms: Sequence[Arm] = ARMS,
) -> tuple[Lake, list[Step]]:
    """Do what is missing.

    Args:
        folder: data folder of a finished run.

    Returns:
        Where the results are, and the steps that they came from.

    Raises:
        ContractError: the run has not made what the ablation starts from.
        StepFailedError: a step failed.
    """
    from dasd_assets.graph import inference_model
    from dasd_assets.profile.open_lake import open_lake
    from dasd_assets.reporting.code_version import code_version
    from dasd_assets.running import local_run
    from dasd_assets.verification.graders import Graders
    from resources.lake.lake import Lake
    from tools.ablation.samples import read_pool, write_draws
    from tools.ablation.side_by_side import run_side_by_side

    lake = open_lake(profile, folder)
    store = Lake(root=str(folder / FOLDER))
    questions = {
        name: lake.read("benchmark_questions", {"benchmark": name})
        for name in profile.evaluation.benchmarks
    }
    references = _references(lake)
    temperatures = sorted({draw.temperature for draw in DRAWS.values()})
    typer.echo(f"judging the teacher's answers at the temperatures {', '.join(temperatures)} …")
    with Graders(profile.domains, profile.verification) as graders:
        pools = {name: read_pool(lake, name, references, graders) for name in temperatures}
    teacher = inference_model(_teacher(profile), profile.compute.teacher_inference)
    student = inference_model(profile.base_student, profile.compute.student_inference)
    steps: list[Step] = []
    for seed in seeds:
        drawn = write_draws(lake, store, DRAWS, pools, profile, seed)
        steps += steps_of(
            profile, seed, arms, {name: sample.version for name, sample in drawn.items()},
            base=student.inspect().content_hash,
            teacher=teacher.inspect().content_hash,
            questions=_version(questions),
        )  # fmt: skip
    done = {(step.seed, step.name) for step in steps if record(store, step) is not None}
    typer.echo(f"{len(steps)} steps, {len(done)} done already")
    n_done = len(done)

    def on_done(step: Step) -> None:
        nonlocal n_done
        n_done += 1
        made = record(store, step) or {}
        accuracy = "".join(
            f"{right:.1%} right at T = {temperature}, "
            for temperature, right in made.get("accuracies", {}).items()
        )
        took = f"{made['seconds']:.0f} s"
        typer.echo(f"{n_done}/{len(steps)} seed {step.seed}, {step.name}: {accuracy}{took}")

    commit = code_version().short
    inputs = Inputs(profile.model_dump_json(), store.root, questions, references, commit)
    run_side_by_side(
        steps, partial(_do, inputs), local_run.forking(),
        done=done, workers=workers, logs=folder / FOLDER / "logs", on_done=on_done,
    )  # fmt: skip
    return store, steps


def _do(inputs: Inputs, step: Step) -> None:
    """One step, in a process of its own."""
    from dasd_assets.graph import inference_model
    from resources.lake.lake import Lake
    from tools.ablation.work import do_step

    profile = Profile.model_validate_json(inputs.profile)
    do_step(
        step,
        store=Lake(root=inputs.store),
        profile=profile,
        student=inference_model(profile.base_student, profile.compute.student_inference),
        teacher=inference_model(_teacher(profile), profile.compute.teacher_inference),
        questions=inputs.questions,
        references=inputs.references,
        commit=inputs.commit,
    )


def _references(lake: Lake) -> dict[str, str]:
    columns = ["question_id", "answer"]
    rows = lake.read_partitions("questions", columns).select(columns).to_pylist()
    return {row["question_id"]: row["answer"] for row in rows if row["answer"] is not None}


def _version(questions: Mapping[str, pa.Table]) -> str:
    return settings_version({name: rows.to_pylist() for name, rows in questions.items()})


def _teacher(profile: Profile) -> Model:
    if profile.teacher is None or profile.no_mixed_policy:
        raise typer.BadParameter(
            f"the profile {profile.name} finishes no rollouts: {profile.no_mixed_policy}"
        )
    return profile.teacher
