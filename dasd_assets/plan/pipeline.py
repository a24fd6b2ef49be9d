"""The plan of one profile: every asset's cost, the quantities behind it, what speaks against it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dasd_assets.plan.answers import Candidates
from dasd_assets.plan.asset_plan import AssetPlan, total
from dasd_assets.plan.disk import restart_bytes, top_bytes
from dasd_assets.plan.estimate import Estimate
from dasd_assets.plan.fitting import Way, ways
from dasd_assets.plan.flops import TokenFlops
from dasd_assets.plan.gpu_check import GpuFigures
from dasd_assets.plan.layout import Placement, layout
from dasd_assets.plan.measured import Measured
from dasd_assets.plan.memory import Finding, inference_findings, training_findings
from dasd_assets.plan.quantities import Quantities, Quantity
from dasd_assets.plan.shards import fitting_shard, shard_findings
from dasd_assets.plan.sizes import Sizes
from dasd_assets.profile import Model, ModelShape, PlanSettings, Profile
from resources.compute.declared import GIB
from resources.lake.table import CELL, SHARD
from resources.lake.tables import TABLES
from training.settings import Training

SUMMARIES_PER_CELL = 1
"""Files for drift beside the tables of one temperature and shard."""


@dataclass(frozen=True)
class Plan:
    """What a profile will cost.

    Attributes:
        questions: domain -> questions.
        flops: of a token, where the tokens per second are derived from them.
        restart_bytes: disk that the restart points of one stage need while it is trained.
        fitting_shard: questions that a shard should have; None: no throughput is known.
        layout: what is started on the declared GPUs.
        ways: in which a training would fit into the declared GPUs' memory.
    """

    profile: str
    questions: Mapping[str, int]
    n_shards: int
    assets: list[AssetPlan]
    quantities: list[Quantity]
    flops: list[TokenFlops]
    findings: list[Finding]
    restart_bytes: float
    n_files: int
    fitting_shard: int | None
    layout: list[Placement]
    ways: list[Way]

    @property
    def requests(self) -> int:
        """To all models."""
        return sum(asset.requests for asset in self.assets)

    @property
    def tokens(self) -> float:
        """Sampled, scored and trained on."""
        return sum(asset.tokens for asset in self.assets)

    @property
    def gpu_hours(self) -> float | None:
        """Of all assets; None if one of them is not known."""
        return total(asset.gpu_hours for asset in self.assets)

    @property
    def hours(self) -> float | None:
        """One asset after the other; work without GPUs that nobody measured is left out."""
        return total(asset.hours for asset in self.assets if asset.requests or asset.steps)

    @property
    def money(self) -> float | None:
        """Of all assets; None if one of them is not known."""
        return total(asset.money for asset in self.assets)

    @property
    def disk_bytes(self) -> float:
        """At the end, with the restart points of the stage in training on top."""
        return sum(asset.disk_bytes for asset in self.assets) + self.restart_bytes


def plan_pipeline(
    profile: Profile,
    sizes: Sizes,
    options: PlanSettings,
    measured: Measured,
    teacher: ModelShape | None,
    student: ModelShape | None,
    free_bytes: int,
    others: Mapping[str, ModelShape | None] | None = None,
    gpu: GpuFigures | None = None,
) -> Plan:
    """Reckon with everything that is known beforehand.

    Args:
        options: quantities given for this plan alone.
        measured: of earlier materializations with this profile.
        teacher, student: sizes of the models; None: memory is not checked.
        free_bytes: on the lake's disk.
        others: further student -> its size.
        gpu: what was measured of the GPU.
    """
    others = others or dict.fromkeys(profile.students)
    quantities = Quantities(profile, options, measured, teacher, student, others, gpu)
    candidates = {
        temperature: Candidates(profile, sizes.by_domain, quantities, temperature)
        for temperature in profile.teacher_responses.temperatures
    }
    fitting = fitting_shard(profile, quantities, sizes.questions, candidates)
    n_shards = len(sizes.shards) or math.ceil(sizes.questions / (fitting or sizes.questions))
    walk = Estimate(profile, sizes, quantities, candidates, student, n_shards, others)
    assets = list(walk.assets())
    dimensions = [table.dimensions for name, table in TABLES.items() if name not in absent(profile)]
    per_cell = dimensions.count(CELL) + SUMMARIES_PER_CELL
    n_temperatures = len(profile.teacher_responses.temperatures)
    n_files = n_shards * (dimensions.count(SHARD) + per_cell * n_temperatures)
    restart = max(
        restart_bytes(shape, training) if shape else 0.0
        for _, training, shape in _trainings(profile, student, others)
    )
    plan = Plan(
        profile.name, sizes.by_domain, n_shards, assets, quantities.used, quantities.flops,
        [
            *_left_out(profile),
            *_likeliest_tokens(profile, candidates),
            *(finding for answers in candidates.values() for finding in answers.findings()),
            *_memory(profile, quantities, candidates, teacher, student, others),
            *shard_findings(sizes, fitting, n_shards, n_files),
        ],
        restart, n_files, fitting, list(layout(profile)),
        [
            way
            for name, training, shape in _trainings(profile, student, others)
            for way in ways(name, training, shape, profile.compute.training)
        ],
    )  # fmt: skip
    if plan.disk_bytes > free_bytes:
        plan.findings.insert(
            0,
            Finding(
                "warning", "disk",
                f"{plan.disk_bytes / GIB:,.1f} GiB are needed, {free_bytes / GIB:,.1f} GiB are "
                "free where the lake is (DASD_HOME)",
            ),
        )  # fmt: skip
    return plan


def _left_out(profile: Profile) -> Iterator[Finding]:
    """A stage that the graph does not have, and why."""
    if why := profile.no_mixed_policy:
        yield Finding("hint", "stage 3", f"is left out: {why}")


def _likeliest_tokens(profile: Profile, candidates: Mapping[str, Candidates]) -> Iterator[Finding]:
    """What the likeliest tokens take of the disk, where they are asked for."""
    k = profile.teacher_responses.top_logprobs
    if k and profile.teacher:
        n_bytes = sum(top_bytes(k, each.asked.n_tokens) for each in candidates.values())
        yield Finding(
            "hint", "top_logprobs",
            f"the {k} likeliest tokens take {top_bytes(k, 1):g} bytes for each token of an answer, "
            f"{n_bytes / GIB:,.1f} GiB in all, before compression",
        )  # fmt: skip


def absent(profile: Profile) -> set[str]:
    """Tables that the graph of a profile does not make."""
    tables = set() if profile.imports else {"imported_answers", "quarantined_answers"}
    tables |= {"teacher_scores"} if profile.no_teacher_scores else set()
    return tables | (set() if profile.teacher_responses.top_logprobs else {"teacher_top_logprobs"})


def _memory(
    profile: Profile,
    quantities: Quantities,
    candidates: Mapping[str, Candidates],
    teacher: ModelShape | None,
    student: ModelShape | None,
    others: Mapping[str, ModelShape | None],
) -> Iterator[Finding]:
    prompt = quantities.prompt_tokens()
    answers = {t: answers.asked.mean_tokens for t, answers in candidates.items()}
    compute = profile.compute
    if profile.teacher:
        yield from inference_findings(
            "teacher.engine", profile.teacher.engine, teacher, compute.teacher_inference,
            int(prompt) + profile.teacher_responses.max_tokens, prompt + max(answers.values()),
        )  # fmt: skip
    longest = max(benchmark.max_tokens for benchmark in profile.evaluation.benchmarks.values())
    engines = {
        "base_student.engine": (profile.base_student.engine, student),
        **{f"students.{n}.engine": (profile.students[n].engine, others[n]) for n in others},
    }
    for name, (engine, shape) in engines.items():
        yield from inference_findings(
            name, engine, shape, compute.student_inference,
            int(prompt) + longest, prompt + quantities.evaluation_tokens(answers["high"]),
        )  # fmt: skip
    for name, training, shape in _trainings(profile, student, others):
        yield from training_findings(name, training, shape, compute.training)


def _trainings(
    profile: Profile, student: ModelShape | None, others: Mapping[str, ModelShape | None]
) -> Iterator[tuple[str, Training, ModelShape | None]]:
    """Each training with its name and the size of what it trains."""
    for name, training in profile.base_trainings.items():
        yield name, training, student
    for name, shape in others.items():
        yield f"students.{name}.training", profile.student_training(name), shape


def models(profile: Profile) -> dict[str, tuple[Model, ModelShape | None]]:
    """The models with the sizes that the profile states, further students by their names."""
    return {
        **({"teacher": (profile.teacher, profile.plan.teacher)} if profile.teacher else {}),
        "base_student": (profile.base_student, profile.plan.base_student),
        **{
            name: (student, profile.plan.students.get(name))
            for name, student in profile.students.items()
        },
    }
