"""`dasd plan`: what a profile will cost, before anything is spent."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from dasd_assets.cli.completion import profiles
from dasd_assets.cli.exits import EXIT_FAILED, refusing
from dasd_assets.profile import PlanSettings, Profile, ProfileError, load_profile
from dasd_assets.profile.home import active_profile, home

if TYPE_CHECKING:
    from dasd_assets.plan.gpu_check import GpuFigures
    from dasd_assets.plan.measured import Totals
    from dasd_assets.plan.pipeline import Plan
    from dasd_assets.plan.sizes import ShardSize, Sizes

Rate = Annotated[float | None, typer.Option(min=0.001, help="Per GPU; overrides all else.")]


class PlanError(ValueError):
    """There is nothing to plan for, or a quantity that cannot be read."""


def plan(
    profile: Annotated[
        str | None,
        typer.Option(
            help="Shipped profile or YAML file. Default: DASD_PROFILE.", autocompletion=profiles
        ),
    ] = None,
    questions: Annotated[
        int | None, typer.Option(min=1, help="Plan for so many questions, not for the inbox.")
    ] = None,
    teacher_tokens_per_second: Rate = None,
    student_tokens_per_second: Rate = None,
    scoring_tokens_per_second: Rate = None,
    training_tokens_per_second: Rate = None,
    mean_answer_tokens: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=TOKENS", help="For one temperature; may be repeated."),
    ] = None,
    kept_share: Annotated[
        float | None, typer.Option(min=0.001, max=1.0, help="Of answers that pass the filters.")
    ] = None,
    price_per_gpu_hour: Annotated[float | None, typer.Option(min=0.0)] = None,
    measured: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="gpu-check.json, which `make gpu-check` writes."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Reckon requests, tokens, GPU-hours, disk and money per asset before anything is spent.

    Figures come from options, else from what earlier runs of the profile measured, else from the
    GPU check, else from the profile's section `plan`, else they are assumed; the second table says
    which is from where. Ends with exit code 1 if a setting cannot work on the declared compute.
    """
    from dasd_assets.cli.plan_page import as_dict, print_plan
    from dasd_assets.plan.gpu_check import GpuCheckError, read

    with refusing(ProfileError, PlanError, GpuCheckError, OSError):
        options = _options(
            mean_answer_tokens or [],
            teacher_tokens_per_second=teacher_tokens_per_second,
            student_tokens_per_second=student_tokens_per_second,
            scoring_tokens_per_second=scoring_tokens_per_second,
            training_tokens_per_second=training_tokens_per_second,
            kept_share=kept_share,
            price_per_gpu_hour=price_per_gpu_hour,
            questions=questions,
        )
        made = make_plan(
            load_profile(profile) if profile else active_profile(), options,
            read(measured) if measured else None,
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(as_dict(made), indent=1))
    else:
        print_plan(made)
    if any(finding.level == "problem" for finding in made.findings):
        raise typer.Exit(EXIT_FAILED)


def make_plan(profile: Profile, options: PlanSettings, gpu: GpuFigures | None = None) -> Plan:
    """The plan of a profile: counts its inbox and looks at its earlier runs.

    Raises:
        PlanError: no questions are known, or an option is of no temperature of the profile.
    """
    from dasd_assets.plan.pipeline import models, plan_pipeline
    from dasd_assets.plan.sizes import shape_of

    temperatures = profile.teacher_responses.temperatures
    if unknown := sorted(set(options.mean_answer_tokens) - set(temperatures)):
        raise PlanError(
            f"--mean-answer-tokens names {', '.join(unknown)}, which is none of "
            f"teacher_responses.temperatures: {', '.join(sorted(temperatures))}"
        )
    sizes = _sizes(profile, options)
    shapes = {name: shape_of(*model)[0] for name, model in models(profile).items()}
    folder = home(profile)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return plan_pipeline(
        profile, sizes, options, _measured(folder), shapes.pop("teacher", None),
        shapes.pop("base_student"), shutil.disk_usage(existing).free, shapes, gpu,
    )  # fmt: skip


def _options(mean_answer_tokens: Sequence[str], **quantities: float | None) -> PlanSettings:
    lengths = {}
    for text in mean_answer_tokens:
        name, _, tokens = text.partition("=")
        lengths[name] = tokens
    try:
        return PlanSettings.model_validate({**quantities, "mean_answer_tokens": lengths})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PlanError(f"{where}: {first['msg']}, found {first['input']!r}") from error


def _sizes(profile: Profile, options: PlanSettings) -> Sizes:
    from dasd_assets.plan.sizes import Sizes

    announced = _announced(profile.plan, options)
    benchmarks = {name: _n_benchmark(profile, name) for name in profile.evaluation.benchmarks}
    return Sizes(() if announced else tuple(_shards(profile)), announced, benchmarks)


def _announced(settings: PlanSettings, options: PlanSettings) -> dict[str, int]:
    """Domain -> questions that are announced; an option's number is shared out as the profile's."""
    from dasd_assets.divergence_sampling.quotas import shared_out
    from dasd_assets.plan.answers import UNSAID

    stated, n_questions = settings.questions, options.questions or settings.questions
    if isinstance(n_questions, dict):
        return dict[str, int](n_questions.items())
    if n_questions and isinstance(stated, dict):
        shares = dict[str, int](stated.items())
        return shared_out(n_questions, dict.fromkeys(shares, n_questions), shares)
    if n_questions and any(isinstance(n, dict) for n in settings.mean_answer_tokens.values()):
        raise PlanError(
            f"{n_questions:,} questions, but of which domain? plan.mean_answer_tokens is by "
            "domain, so plan.questions has to be too: {math: …, code: …}"
        )
    return {UNSAID: n_questions} if n_questions else {}


def _shards(profile: Profile) -> list[ShardSize]:
    from dasd_assets.plan.sizes import ShardSize
    from dasd_assets.profile.open_lake import open_lake
    from dasd_assets.questions.inbox.listing import InboxError, inbox_at, list_inbox
    from dasd_assets.questions.reading.drops import layout_of, read_drop
    from dasd_assets.questions.reading.rows import DropError

    settings = profile.questions
    lake = open_lake(profile)
    shards = []
    try:
        drops = list_inbox(inbox_at(settings.inbox)).drops
        for name, drop in drops.items():
            rows = _domains_in(lake.path("raw_questions", {"question_shard": name}))
            if rows is None:
                layout = layout_of(name, settings.layouts)
                parts = read_drop(drop, layout, settings.max_row_bytes, profile.domains)
                rows = Counter(one for part in parts for one in part.rows["domain"].to_pylist())
            kept = _domains_in(lake.path("questions", {"question_shard": name}))
            shards.append(ShardSize(name, rows.total(), rows if kept is None else kept))
    except (InboxError, DropError) as error:
        raise PlanError(f"{error} To plan before there are questions, say --questions N.") from None
    if not any(shard.questions for shard in shards):
        raise PlanError(
            f"{settings.inbox}: no questions in the inbox. Add some (`dasd add-questions`), or say "
            "--questions N."
        )
    return shards


def _domains_in(file: Path) -> Counter[str] | None:
    import pyarrow.parquet as pq

    if not file.is_file():
        return None
    return Counter(pq.read_table(file, columns=["domain"])["domain"].to_pylist())


def _n_rows(file: Path) -> int | None:
    import pyarrow.parquet as pq

    return pq.read_metadata(file).num_rows if file.is_file() else None


def _n_benchmark(profile: Profile, name: str) -> int | None:
    """Questions of an evaluation set: in the lake, else in its files if they are here."""
    from dasd_assets.profile.open_lake import open_lake
    from dasd_assets.questions.benchmarks.evaluation_sets import read_benchmark
    from dasd_assets.verification.graders import Graders
    from resources.lake.table import ContractError

    lake = open_lake(profile)
    stored = _n_rows(lake.path("benchmark_questions", {"benchmark": name}))
    benchmark = profile.evaluation.benchmarks[name]
    if stored is not None or "://" in benchmark.path:  # a plan downloads nothing
        return stored
    try:
        read = read_benchmark(benchmark, name, Graders(profile.domains), profile.seed)
        return sum(batch.num_rows for batch in read)
    except ContractError:
        return None


def _measured(folder: Path) -> dict[tuple[str, str], Totals]:
    """What the profile's earlier runs measured; nothing if it has never run."""
    dagster_home = folder / "dagster"
    if not (dagster_home / "dagster.yaml").is_file():
        return {}
    import dagster as dg

    from dasd_assets.cli.earlier_runs import measured

    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        return measured(instance)
