"""How each kind of work would lie on the GPUs that the profile declares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dasd_assets.profile import Profile
from resources.compute.declared import Compute
from resources.engines.settings import (
    EngineSettings,
    OpenAiSettings,
    SyntheticSettings,
    VllmSettings,
)
from training.settings import Training


@dataclass(frozen=True)
class Placement:
    """One kind of work.

    Attributes:
        work: the setting that says how it is run.
        gpus: of one run.
        pool: steps that share its slots.
        how: what is started on these GPUs.
    """

    work: str
    gpus: int
    pool: str | None
    how: str


def layout(profile: Profile) -> Iterator[Placement]:
    """Each kind of work that a model does, in the order of the data's way."""
    compute = profile.compute
    teacher, student = compute.teacher_inference, compute.student_inference
    if profile.teacher:
        yield _place("teacher.engine", teacher, inference_layout(profile.teacher.engine))
    for name, further in profile.teachers.items():
        yield _place(f"teachers.{name}.engine", teacher, inference_layout(further.engine))
    yield _place("base_student.engine", student, inference_layout(profile.base_student.engine))
    for name, other in profile.students.items():
        yield _place(f"students.{name}.engine", student, inference_layout(other.engine))
    for name, training in profile.trainings.items():
        yield _place(name, compute.training, training_layout(training, compute.training.machines))


def gpus_of_pools(placements: Iterable[Placement]) -> dict[str, int]:
    """Pool -> GPUs of its largest step; those without GPUs are left out, the largest come first.

    Work without a pool is a pool of its own: nothing but the GPUs holds it up.
    """
    pools: dict[str, int] = {}
    for one in placements:
        name = one.pool or one.work
        pools[name] = max(one.gpus, pools.get(name, 0))
    return dict(sorted(((name, n) for name, n in pools.items() if n), key=lambda pool: -pool[1]))


def inference_layout(engine: EngineSettings) -> str:
    """What an engine starts."""
    if isinstance(engine, OpenAiSettings):
        servers = f"{len(engine.urls)} servers" if len(engine.urls) > 1 else "a server"
        return f"{servers} elsewhere, {engine.concurrency} requests at once"
    if isinstance(engine, SyntheticSettings):
        return "no model: answers are made up, for a rehearsal"
    if isinstance(engine, VllmSettings):
        cuts = {
            "tensor parallel": engine.tensor_parallel_size,
            "pipeline parallel": engine.pipeline_parallel_size,
        }
        cut = ", ".join(f"{way} {size}" for way, size in cuts.items() if size > 1)
        copies = engine.data_parallel_size
        each = f"{cut}{' each' if copies > 1 else ''}" if cut else "the model whole"
        return f"vLLM, {f'{copies} copies, ' if copies > 1 else ''}{each}"
    return "transformers, the model whole"


def training_layout(training: Training, machines: int) -> str:
    """What the launcher starts and where, and what a step of each process takes."""
    where = f" ({training.processes // machines} on each of {machines})" if machines > 1 else ""
    passes = training.global_batch_size // (training.processes * training.micro_batch_size)
    zero = training.deepspeed_zero_stage
    return (
        f"{training.processes} process(es){where}"
        f"{f', DeepSpeed ZeRO-{zero}' if zero else ''}, "
        f"{passes} pass(es) of {training.micro_batch_size} x {training.max_length:,} tokens a step"
    )


def _place(work: str, compute: Compute, how: str) -> Placement:
    return Placement(work, compute.gpus, compute.pool, how)
