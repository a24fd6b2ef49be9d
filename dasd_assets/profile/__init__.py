"""A profile: one validated YAML that holds every setting of a pipeline.

`load_profile("tiny")` reads a profile shipped with the project, `load_profile("my.yaml")` the
user's own. Relative paths of a shipped profile are relative to the project root, those of a user's
own to its folder. An unknown key or a bad value is an error that names file,
key, value and what is allowed. Section names are the names of the asset groups; the sections are in
this package.
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, Field, PrivateAttr, ValidationError, model_validator

from dasd_assets.profile.answers import ImportedAnswers
from dasd_assets.profile.answers_agree import check_answers
from dasd_assets.profile.check_settings import Checks
from dasd_assets.profile.divergence_sampling import (
    ClassRule,
    DivergenceSampling,
    NoWeights,
    PowerWeights,
    SampleWeights,
    SegmenterName,
)
from dasd_assets.profile.domains import (
    PAPER_DOMAINS,
    Domains,
    GraderSettings,
    JudgeGrader,
    check_named,
)
from dasd_assets.profile.evaluation import (
    DOMAIN_OF_FORMAT,
    Benchmark,
    Evaluation,
    EvaluationProvenance,
)
from dasd_assets.profile.mixed_policy import EntropyCut, MixedPolicyDistillation
from dasd_assets.profile.plan import ModelShape, PlanSettings
from dasd_assets.profile.questions import Layout, MappedField, Questions, Turns
from dasd_assets.profile.release import Release
from dasd_assets.profile.responses import ResponseFiltering, TeacherResponses, Verification
from dasd_assets.profile.section import PartitionName, StudentName, TeacherName
from dasd_assets.profile.teachers import ALL, FIRST, QuestionShare, check_teachers
from dasd_assets.profile.yaml_file import parse_yaml
from formats.model_format import FormatSettings
from resources.compute.declared import Compute, TrainingCompute
from resources.engines.settings import (
    WITHOUT_WEIGHTS,
    EngineSettings,
    OpenAiSettings,
    TransformersSettings,
    cannot_score,
)
from resources.section import Section
from training.settings import Training

if TYPE_CHECKING:
    from resources.engines.model_folder import ModelFolder

__all__ = [
    "PAPER_DOMAINS", "Benchmark", "ClassRule", "ComputePlan", "DivergenceSampling", "EntropyCut",
    "Evaluation", "EvaluationProvenance", "GraderSettings", "ImportedAnswers",
    "JudgeGrader", "Layout",
    "MappedField", "MixedPolicyDistillation", "Model", "ModelShape", "NoWeights", "PlanSettings",
    "PowerWeights", "Profile", "ProfileError", "Questions", "Release", "ResponseFiltering",
    "SampleWeights", "SegmenterName", "Student", "Teacher", "TeacherResponses", "Turns",
    "Verification", "load_profile", "resolve_path", "settings_version",
]  # fmt: skip

PROJECT_ROOT = Path(__file__).parents[2]
PROFILE_FOLDER = PROJECT_ROOT / "dasd_assets" / "profiles"
TINY_WORLD = "tiny_world"
TAKEN_NAMES = frozenset(
    {"teacher", "base_student", "base", "low_temperature", "high_temperature", "dasd"}
)
"""Models and checkpoints that a further student would be taken for."""


SECRET_KEYS = frozenset({"base_url", "base_urls", "api_key_env"})
"""Settings whose bad value may hold a key or a password: it is not shown."""


class ProfileError(ValueError):
    """A profile that cannot be used; the message names file, key, value and what is allowed."""


class Model(Section):
    """A model folder in Hugging Face layout, or the id of one in the local hub cache."""

    path: str = Field(description="folder (see docs/cli.md, paths of a profile) or hub id")
    revision: str | None = Field(None, description="hub revision; a folder is hashed instead")
    engine: EngineSettings = Field(
        default_factory=TransformersSettings, description="how the model is run"
    )
    format: FormatSettings = Field(
        FormatSettings(), description="how the model writes its answers, and its chat template"
    )

    @property
    def location(self) -> str:
        """Its folder on this machine if there is one, else the hub id."""
        folder = resolve_path(self.path)
        return str(folder) if folder.exists() else self.path

    def inspect(self) -> ModelFolder:
        """Check the files that its engine needs.

        Raises:
            ModelFolderError: the folder is missing, incomplete or inconsistent.
        """
        from resources.engines.model_folder import inspect_model

        has_weights = self.engine.kind not in WITHOUT_WEIGHTS
        return inspect_model(self.location, self.revision, weights=has_weights)


class Teacher(Model):
    """A model that is asked for answers."""

    questions: QuestionShare = Field(
        "all",
        # So that a profile which says nothing of it has the versions that it always had.
        exclude_if=lambda questions: questions == ALL,
        description="which questions it answers: all, or its share of them, above 0 and at most 1; "
        "see docs/bring-your-own-teacher.md",
    )
    template_date: date | None = Field(
        None,
        description="what its chat template prints as today's date, where it prints one (gpt-oss); "
        "unset: the day (UTC) on which a partition was begun, for all its prompts and for good",
    )

    def pinned(self) -> list[str]:
        """The date as a setting that shapes data; none if it is not set."""
        return [str(self.template_date)] if self.template_date else []


class Student(Model):
    """A further student, trained on the low-temperature sample that was chosen for base_student."""

    training: Training | None = Field(
        None,
        description="all settings of its training; unset: those of temperature_scheduled_learning",
    )


M = TypeVar("M", bound=Model)


class ComputePlan(Section):
    """What each kind of work asks for; becomes pools, container limits and UI metadata."""

    data: Compute = Field(default_factory=lambda: Compute(pool=None))
    teacher_inference: Compute = Field(default_factory=lambda: Compute(pool="teacher"))
    student_inference: Compute = Field(default_factory=lambda: Compute(pool="student"))
    training: TrainingCompute = Field(default_factory=lambda: TrainingCompute(pool="training"))


class Profile(Section):
    """Every setting of one pipeline."""

    name: PartitionName = Field(description="name of the profile")
    description: str = Field(description="what it is for, one line")
    seed: int = Field(0, ge=0, description="seed of everything random but training")
    system_prompt: str = Field(
        "You are a helpful assistant.", description="the same in sampling, training, evaluation"
    )
    lake: str | None = Field(
        None,
        description="folder or s3://bucket/prefix for what is made, see docs/object-store.md; "
        "by default a folder of the data folder",
    )
    teacher: Teacher | None = Field(
        description="the model that answers; null: there is none, all answers come with the drops "
        "(docs/bring-your-own-answers.md)"
    )
    teachers: dict[TeacherName, Teacher] = Field(
        default_factory=dict,
        exclude_if=lambda teachers: not teachers,
        description="name -> a further teacher that is asked beside `teacher`, see "
        "docs/bring-your-own-teacher.md",
    )
    base_student: Model
    students: dict[StudentName, Student] = Field(
        default_factory=dict,
        description="name -> a further student, trained on the low-temperature sample that was "
        "chosen for base_student (the paper's Table 8), see docs/training.md",
    )
    domains: Domains = Field(
        default_factory=lambda: dict(PAPER_DOMAINS),
        min_length=1,
        description="name of a domain -> its grader, docs/bring-your-own-domain.md; by default "
        "the paper's four. Whoever sets it names all that there are",
    )
    questions: Questions
    teacher_responses: TeacherResponses
    response_filtering: ResponseFiltering
    divergence_sampling: DivergenceSampling
    temperature_scheduled_learning: Training
    mixed_policy_distillation: MixedPolicyDistillation
    evaluation: Evaluation
    verification: Verification = Field(
        default_factory=Verification,
        description="limits of the graders, the same in response_filtering and in evaluation",
    )
    release: Release = Field(
        default_factory=Release, description="the released model and data sets, docs/release.md"
    )
    checks: Checks = Field(
        default_factory=Checks,
        description="asset -> check -> limits and severity, see docs/data-contracts.md",
    )
    compute: ComputePlan = Field(default_factory=ComputePlan)
    plan: PlanSettings = Field(
        default_factory=PlanSettings, description="figures for `dasd plan`, see docs/plan.md"
    )
    _folder: Path = PrivateAttr(default=PROJECT_ROOT)

    @property
    def folder(self) -> Path:
        """Where the profile's pipeline is at home: its own folder, or the project's root."""
        return self._folder

    def student_training(self, name: str) -> Training:
        """Settings that a further student is trained with."""
        return self.students[name].training or self.temperature_scheduled_learning

    @property
    def answerers(self) -> dict[str, Teacher]:
        """All teachers by name, the first one (`teacher`) first; none if there is none."""
        return {FIRST: self.teacher, **self.teachers} if self.teacher else {}

    @property
    def answerers_per_question(self) -> float:
        """How many teachers answer a question, on average; 1 where drops bring all answers."""
        shares = [teacher.questions for teacher in self.answerers.values()]
        return float(sum(Decimal(1 if share == ALL else str(share)) for share in shares)) or 1.0

    @property
    def no_evaluation_provenance(self) -> str | None:
        """Why the graph has no provenance of the checkpoints' own answers; None if it has."""
        if not self.evaluation.provenance.answers_per_question:
            return "evaluation.provenance.answers_per_question is 0"
        return self._teacher_cannot_score

    @property
    def imports(self) -> dict[str, ImportedAnswers]:
        """Name of a layout -> the answers that its drops bring along, where they do."""
        layouts = self.questions.layouts.items()
        return {name: layout.answers for name, layout in layouts if layout.answers is not None}

    @property
    def no_teacher_scores(self) -> str | None:
        """Why the graph has no `teacher_scores` of imported answers; None if it has."""
        if all(answers.tokens is not None for answers in self.imports.values()):
            return "no layout of questions.layouts brings answers without logprobs"
        return self._teacher_cannot_score

    @property
    def template_date(self) -> date | None:
        """What the teacher's chat template is to print as today's date, if it is set."""
        return self.teacher.template_date if self.teacher else None

    @property
    def template_date_pinned(self) -> list[str]:
        """The date of the teacher's template as a setting that shapes data; none if not set."""
        return self.teacher.pinned() if self.teacher else []

    @property
    def no_mixed_policy(self) -> str | None:
        """Why the graph ends with stage 2, without a release; None if it does not."""
        return None if self.teacher else "teacher: null, and nobody else can finish a rollout"

    @property
    def _teacher_cannot_score(self) -> str | None:
        if self.teacher is None:
            return "teacher: null"
        problem = cannot_score(self.teacher.engine)
        return problem and f"teacher.engine: {problem}"

    @model_validator(mode="after")
    def _answers_can_be_used(self) -> Profile:
        check_answers(self)
        check_teachers(self)
        return self

    @model_validator(mode="after")
    def _domains_are_known(self) -> Profile:
        filtering, plan = self.response_filtering, self.plan
        by_domain = {"plan.questions": plan.questions} | {
            f"plan.mean_answer_tokens.{name}": each
            for name, each in plan.mean_answer_tokens.items()
        }
        check_named(
            self.domains,
            {
                f"questions.layouts.{name}.domain": each.domains
                for name, each in self.questions.layouts.items()
            }
            | {
                f"divergence_sampling.domain_shares.{name}": each
                for name, each in self.divergence_sampling.domain_shares.items()
            }
            | {name: each for name, each in by_domain.items() if isinstance(each, dict)},
            {
                "response_filtering.verify_domains": filtering.verify_domains,
                "response_filtering.judge_domains": filtering.judge_domains,
            }
            | {
                f"evaluation.benchmarks.{name} (format {each.format})":
                    [DOMAIN_OF_FORMAT[each.format]]
                for name, each in self.evaluation.benchmarks.items()
                if each.format in DOMAIN_OF_FORMAT
            },
        )  # fmt: skip
        return self

    @model_validator(mode="after")
    def _sections_agree(self) -> Profile:
        students = {f"students.{name}": student for name, student in self.students.items()}
        for name, student in {"base_student": self.base_student, **students}.items():
            if isinstance(student.engine, OpenAiSettings):
                raise ValueError(
                    f"{name}.engine.kind must be transformers or vllm: the checkpoints trained "
                    "here have to be loaded, a server has only its own model"
                )
        taken = TAKEN_NAMES | {f"{name}_base" for name in self.students}
        if clashing := sorted(taken & set(self.students)):
            raise ValueError(
                f"students cannot be called {', '.join(clashing)}: another model or checkpoint has "
                f"that name ({', '.join(sorted(taken))}). Choose another"
            )
        if unknown := sorted(set(self.plan.students) - set(self.students)):
            raise ValueError(
                f"plan.students names {', '.join(unknown)}, which is none of students: "
                f"{', '.join(sorted(self.students)) or 'there are none'}"
            )
        temperatures = set(self.teacher_responses.temperatures)
        in_samples = sorted(self.divergence_sampling.budget_samples)
        in_tokens = sorted(self.divergence_sampling.budget_tokens)
        if sorted(in_samples + in_tokens) != sorted(temperatures):
            raise ValueError(
                "divergence_sampling.budget_samples and budget_tokens must name the same "
                f"partitions as teacher_responses.temperatures, each once: {sorted(temperatures)}, "
                f"got {in_samples} and {in_tokens}"
            )
        unknown = sorted(set(self.plan.mean_answer_tokens) - temperatures)
        if unknown:
            raise ValueError(
                f"plan.mean_answer_tokens names {', '.join(unknown)}, which is none of "
                f"teacher_responses.temperatures: {', '.join(sorted(temperatures))}"
            )
        stages = {
            "temperature_scheduled_learning": self.temperature_scheduled_learning,
            "mixed_policy_distillation.training": self.mixed_policy_distillation.training,
            **{f"students.{name}.training": self.student_training(name) for name in self.students},
        }
        for name, training in stages.items():
            if self.response_filtering.max_student_tokens > training.max_length:
                raise ValueError(
                    f"response_filtering.max_student_tokens "
                    f"({self.response_filtering.max_student_tokens}) is above {name}.max_length "
                    f"({training.max_length}): such answers would not fit into a sequence"
                )
            on_hosts = sum(self.compute.training.hosts.values())
            if on_hosts not in (0, training.processes):
                raise ValueError(
                    f"compute.training.hosts have {on_hosts} processes, {name}.processes is "
                    f"{training.processes}"
                )
        return self


def resolve_path(path: str) -> Path:
    """A path of a loaded profile: absolute as it is, else below the project root."""
    return PROJECT_ROOT / path


def settings_version(*settings: Any) -> str:
    """Ten hex digits over settings that shape an asset's data; part of its code version."""
    encoded = json.dumps(settings, sort_keys=True, ensure_ascii=False, default=_plain).encode()
    return hashlib.sha256(encoded).hexdigest()[:10]


def _plain(setting: Any) -> Any:
    if isinstance(setting, BaseModel):
        return setting.model_dump(mode="json")
    raise TypeError(f"a {type(setting).__name__} is no setting")


def load_profile(name_or_path: str) -> Profile:
    """Read and validate a profile by shipped name or by the path of a YAML file.

    Raises:
        ProfileError: no such profile, no valid YAML, or a setting that is unknown or not allowed.
    """
    is_path = name_or_path.endswith((".yaml", ".yml")) or os.sep in name_or_path
    file = Path(name_or_path) if is_path else PROFILE_FOLDER / f"{name_or_path}.yaml"
    if not file.is_file():
        shipped = sorted(path.stem for path in PROFILE_FOLDER.glob("*.yaml"))
        raise ProfileError(
            f"{name_or_path}: no such profile. Shipped profiles: {', '.join(shipped)}; "
            "your own is named by the path of its YAML file."
        )
    try:
        settings = parse_yaml(file.read_text(encoding="utf-8"))
    except ValueError as error:  # also of text that is no UTF-8
        raise ProfileError(f"{file}: no valid YAML: {error}") from error
    if not isinstance(settings, dict):
        raise ProfileError(
            f"{file}: expected a mapping of sections, found {type(settings).__name__}"
        )
    try:
        profile = Profile.model_validate(settings)
    except ValidationError as error:
        raise ProfileError(_explain(file, error)) from error
    folder = file.resolve().parent
    return profile if folder in (PROFILE_FOLDER, PROJECT_ROOT) else _at_home(profile, folder)


def _at_home(profile: Profile, folder: Path) -> Profile:
    """A user's own profile: its relative paths are relative to its folder.

    `tiny_world/…`, which the project ships, is the project's unless the folder has one, so that a
    copy of `tiny` goes on working.
    """

    def beside(path: str) -> str:
        here = folder / path
        is_shipped = path.startswith(f"{TINY_WORLD}/") and not here.exists()
        return path if is_shipped or "://" in path else str(here)

    def model(settings: M) -> M:
        is_folder = (folder / settings.path).exists()  # else the id of one in the hub cache
        path = beside(settings.path) if is_folder else settings.path
        return settings.model_copy(update={"path": path})

    benchmarks = {
        name: benchmark.model_copy(update={"path": beside(benchmark.path)})
        for name, benchmark in profile.evaluation.benchmarks.items()
    }

    def written_by(layout: Layout) -> Layout:
        answers = layout.answers
        if answers is None or answers.model is None or not (folder / answers.model).exists():
            return layout
        update = {"model": beside(answers.model)}
        return layout.model_copy(update={"answers": answers.model_copy(update=update)})

    questions = {
        "inbox": beside(profile.questions.inbox),
        "layouts": {name: written_by(each) for name, each in profile.questions.layouts.items()},
    }
    licence = profile.release.license_file
    placed = profile.model_copy(
        update={
            "lake": beside(profile.lake) if profile.lake else None,
            "teacher": profile.teacher and model(profile.teacher),
            "teachers": {name: model(teacher) for name, teacher in profile.teachers.items()},
            "base_student": model(profile.base_student),
            "students": {name: model(student) for name, student in profile.students.items()},
            "questions": profile.questions.model_copy(update=questions),
            "evaluation": profile.evaluation.model_copy(update={"benchmarks": benchmarks}),
            "release": profile.release.model_copy(
                update={"license_file": beside(licence) if licence else None}
            ),
        }
    )
    placed._folder = folder
    return placed


def _explain(file: Path, error: ValidationError) -> str:
    problems = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "(whole profile)"
        if problem["type"] == "extra_forbidden":
            allowed = ", ".join(sorted(_section_at(problem["loc"][:-1]).model_fields))
            problems.append(f"{key}: unknown key. Allowed here: {allowed}")
        elif problem["type"] == "union_tag_not_found":
            kinds = ", ".join(map(_kind, get_args(_section_at(problem["loc"]))))
            problems.append(f"{key}.kind: required, but missing. One of: {kinds}")
        elif problem["type"] == "missing":
            problems.append(f"{key}: required, but missing")
        elif isinstance(problem["input"], dict) or SECRET_KEYS.intersection(problem["loc"]):
            problems.append(f"{key}: {problem['msg']}")
        else:
            problems.append(f"{key}: {problem['msg']}; found {problem['input']!r}")
    return f"{file}: {len(problems)} setting(s) cannot be used:\n" + "\n".join(
        f"  - {problem}" for problem in problems
    )


def _section_at(location: tuple[int | str, ...]) -> Any:
    """The section at a location of the profile, of several kinds their union."""
    section: Any = Profile
    for part in location:
        fields = getattr(section, "model_fields", {})
        kinds = [one for one in get_args(section) if _kind(one) == part]
        # A key of a mapping such as evaluation.benchmarks: step to the mapping's values.
        inside = kinds[0] if kinds else None
        section = fields[part].annotation if part in fields else inside or get_args(section)[-1]
        if get_origin(section) is Annotated:
            section = get_args(section)[0]
        if type(None) in get_args(section):  # a section that may be left out
            section = get_args(section)[0]
    return section


def _kind(section: Any) -> Any:
    """The kind of a section that is one of several."""
    field = getattr(section, "model_fields", {}).get("kind")
    return field and field.default
