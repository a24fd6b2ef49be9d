"""What `dasd doctor` looks at on the machine; every problem names its remedy."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import Final

from dasd_assets.profile import SHIPPED, PlanSettings, Profile
from dasd_assets.profile.home import home, lake_address
from resources.compute.declared import GIB, Compute
from resources.engines.settings import VllmSettings

OK, WARNING, PROBLEM = "ok", "warning", "problem"
DISTRIBUTION: Final = "dasd-dagster"
PINS: Final = SHIPPED / "requirements" / "cpu.txt"
NOTICED_BELOW: Final = 1.2
"""Free disk over the planned one; less than this is worth a warning."""


@dataclass(frozen=True)
class Result:
    """One line of the doctor's: how it stands, what was found, and what to do about it."""

    level: str
    found: str
    remedy: str = ""


def python(profile: Profile) -> Iterator[Result]:
    """The interpreter is one of those that the package is made for."""
    from packaging.specifiers import SpecifierSet

    found = ".".join(map(str, sys.version_info[:3]))
    wanted = SpecifierSet(metadata(DISTRIBUTION)["Requires-Python"])
    if wanted.contains(found):
        yield Result(OK, found)
    else:
        remedy = "install it into an environment of such a Python"
        yield Result(PROBLEM, f"{found}, but it is made for {wanted}", remedy)


def packages(profile: Profile) -> Iterator[Result]:
    """Installed packages against the pinned versions; those of the project must be there."""
    from packaging.requirements import Requirement
    from packaging.version import Version

    pinned = dict(
        line.strip().split("==")
        for line in PINS.read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.startswith("#")
    )
    parsed = map(Requirement, requires(DISTRIBUTION) or [])
    needed = {r.name for r in parsed if r.marker is None or r.marker.evaluate({"extra": ""})}
    n_equal = 0
    for name, pin in pinned.items():
        found = installed_version(name)
        if found is None:
            if name in needed:
                yield Result(
                    PROBLEM, f"{name} {pin} is not installed", f"uv pip install {name}=={pin}"
                )
        elif Version(found).public == Version(pin).public:
            n_equal += 1
        elif name in needed:
            yield Result(
                WARNING, f"{name} {found}, tested with {pin}", f"uv pip install {name}=={pin}"
            )
    yield Result(OK, f"{n_equal} of {len(pinned)} pinned packages as tested")


def gpus(profile: Profile) -> Iterator[Result]:
    """GPUs of this machine against the profile's declared compute."""
    declared = _declared(profile)
    most = max(compute.gpus_here for compute in declared.values())
    found = gpu_memories()
    if found:
        yield Result(OK, f"{len(found)} GPU(s) with {min(found):.0f} GiB and more each")
    elif not most:
        yield Result(OK, "none declared, none found")
    for name, compute in declared.items():
        if compute.gpus_here > len(found):
            yield Result(
                PROBLEM,
                f"compute.{name} declares {compute.gpus_here} GPU(s), this machine has "
                f"{len(found)}",
                "run it where there are as many, or lower the declaration and what goes with it "
                "(processes, tensor_parallel_size, data_parallel_size)",
            )
        elif compute.gpus and compute.gpu_memory_gib > min(found) * 1.05:
            yield Result(
                WARNING,
                f"compute.{name} declares {compute.gpu_memory_gib} GiB a GPU, there are "
                f"{min(found):.0f}",
                "`dasd plan` says what fits",
            )
    yield from _engines(profile)
    if found:
        yield from _torch(len(found))


def _engines(profile: Profile) -> Iterator[Result]:
    """Whether the GPUs that are declared are enough for the copies of a model and their cuts."""
    compute = profile.compute
    models = {
        "teacher": (profile.teacher, compute.teacher_inference),
        **{f"teachers.{n}": (t, compute.teacher_inference) for n, t in profile.teachers.items()},
        "base_student": (profile.base_student, compute.student_inference),
        **{f"students.{n}": (s, compute.student_inference) for n, s in profile.students.items()},
    }
    for name, (model, declared) in models.items():
        engine = model.engine if model else None
        if isinstance(engine, VllmSettings) and declared.gpus and engine.gpus > declared.gpus:
            yield Result(
                PROBLEM,
                f"{name}.engine starts vLLM on {engine.gpus} GPUs (data_parallel_size x "
                f"pipeline_parallel_size x tensor_parallel_size), {declared.gpus} are declared",
                "declare as many in `compute`, or lower one of the three",
            )


def _torch(n_gpus: int) -> Iterator[Result]:
    """Whether torch sees the GPUs that the driver has."""
    import torch

    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if seen < n_gpus:
        yield Result(
            PROBLEM,
            f"torch {torch.__version__} sees {seen} of {n_gpus} GPU(s)",
            "install a build of torch for the driver (uv pip install torch --torch-backend=auto)",
        )


def memory(profile: Profile) -> Iterator[Result]:
    """Main memory against the largest declared step."""
    import psutil

    total = psutil.virtual_memory().total / GIB
    free = psutil.virtual_memory().available / GIB
    name, compute = max(_declared(profile).items(), key=lambda item: item[1].memory_gib)
    text = f"{total:.1f} GiB, {free:.1f} GiB free; compute.{name} declares {compute.memory_gib:g}"
    if compute.memory_gib > total:
        yield Result(PROBLEM, text, "run it on a larger machine, or declare what it really needs")
    elif compute.memory_gib > free:
        yield Result(WARNING, text, "end other programs first")
    else:
        yield Result(OK, text)


def sandbox(profile: Profile) -> Iterator[Result]:
    """Programs that answers are made of can be run safely."""
    from dasd_assets.profile.domains import CodeTestsGrader
    from dasd_assets.verification.sandbox import Limits, SandboxError, run_tests

    judged = [name for name, one in profile.domains.items() if isinstance(one, CodeTestsGrader)]
    if not judged:
        yield Result(OK, "not needed: no domain has the grader code_tests")
        return
    try:
        (run,) = run_tests("print(6 * 7)", [{"input": ""}], Limits(cpu_seconds=5))
    except SandboxError as error:
        yield Result(
            PROBLEM, str(error), f"without it no answer of the domain {judged[0]} can be judged"
        )
        return
    if run.ended == "finished" and run.printed.strip() == "42":
        yield Result(OK, "bubblewrap runs programs")
    else:
        yield Result(PROBLEM, f"a program in bubblewrap ended as {run.ended}: {run.errors}")


def write_access(profile: Profile) -> Iterator[Result]:
    """The data folder can be written to."""
    folder = home(profile)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            yield Result(OK, str(folder))
    except OSError as error:
        yield Result(PROBLEM, f"{folder}: {error.strerror}", "set DASD_HOME to a folder of yours")
        return
    if "://" in (lake_address(profile) or ""):
        yield from _bucket(profile)


def _bucket(profile: Profile) -> Iterator[Result]:
    """The lake's bucket does all that a run will ask of it."""
    from dasd_assets.profile.open_lake import open_lake
    from resources.lake.bucket_lake import BucketLake

    try:
        lake = open_lake(profile)
        assert isinstance(lake, BucketLake)
        lake.try_out()
    except OSError as error:
        yield Result(PROBLEM, str(error), "`dasd docs object-store` says what a lake needs")
    else:
        yield Result(OK, f"{lake.uri} can be written, read, listed and deleted from")


def disk(profile: Profile) -> Iterator[Result]:
    """Free space against what the plan says."""
    import shutil

    from dasd_assets.cli.plan import PlanError, make_plan

    free = shutil.disk_usage(home(profile)).free
    try:
        needed = make_plan(profile, PlanSettings()).disk_bytes
    except PlanError as error:
        yield Result(WARNING, f"{free / GIB:.1f} GiB free; there is nothing to plan for: {error}")
        return
    text = f"{free / GIB:.1f} GiB free, {needed / GIB:.1f} GiB planned"
    remedy = "set DASD_HOME to a larger disk; `dasd plan` says what takes the space"
    if needed > free:
        yield Result(PROBLEM, text, remedy)
    elif needed * NOTICED_BELOW > free:
        yield Result(WARNING, text, remedy)
    else:
        yield Result(OK, text)


def _declared(profile: Profile) -> dict[str, Compute]:
    names = ("data", "teacher_inference", "student_inference", "training")
    return {name: getattr(profile.compute, name) for name in names}


def gpu_memories() -> list[float]:
    """GiB of every GPU that the driver tells of."""
    try:
        told = subprocess.run(
            ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []
    return [float(line) / 1024 for line in told.stdout.split()]


def installed_version(package: str) -> str | None:
    """Version of a distribution; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
