"""A profile: every setting of a pipeline, and how the settings have to agree."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, PrivateAttr, model_validator

from dasd_assets.profile.alerts import Alerts
from dasd_assets.profile.answers import ImportedAnswers
from dasd_assets.profile.answers_agree import check_answers
from dasd_assets.profile.check_settings import Checks
from dasd_assets.profile.divergence_sampling import (
    DivergenceSampling,
)
from dasd_assets.profile.domains import (
    PAPER_DOMAINS,
    Domains,
    check_named,
)
from dasd_assets.profile.evaluation import (
    DOMAIN_OF_FORMAT,
    Evaluation,
)
from dasd_assets.profile.mixed_policy import MixedPolicyDistillation, off_is_none
from dasd_assets.profile.models import PROJECT_ROOT, Model, Student, Teacher
from dasd_assets.profile.plan import PlanSettings
from dasd_assets.profile.questions import Questions
from dasd_assets.profile.release import Release
from dasd_assets.profile.responses import ResponseFiltering, TeacherResponses, Verification
from dasd_assets.profile.section import PartitionName, StudentName, TeacherName
from dasd_assets.profile.teachers import ALL, FIRST, check_teachers
from resources.compute.declared import Compute, TrainingCompute
from resources.engines.settings import (
    OpenAiSettings,
    cannot_score,
)
from resources.section import Section
from training.settings import Training

TAKEN_NAMES = frozenset(
    {"teacher", "base_student", "base", "low_temperature", "high_temperature", "dasd"}
)
"""Models and checkpoints that a further student would be taken for."""


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
    mixed_policy_distillation: Annotated[
        MixedPolicyDistillation | None, BeforeValidator(off_is_none)
    ] = Field(
        description="stage 3; `off`: it is left out, stages 1 and 2 are evaluated and stage 2 is "
        "released, docs/mixed-policy.md"
    )
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
    alerts: Alerts = Field(
        default_factory=Alerts, description="what people are told, docs/operations.md"
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
        """Why the graph ends with stage 2; None if it does not."""
        if self.mixed_policy_distillation is None:
            return "mixed_policy_distillation: off"
        return None if self.teacher else "teacher: null, and nobody else can finish a rollout"

    @property
    def no_release(self) -> str | None:
        """Why the graph has no release; None if it has. A card names the teacher."""
        return None if self.teacher else "teacher: null"

    @property
    def mixed_policy(self) -> MixedPolicyDistillation:
        """Settings of stage 3, for what is only there where the graph has it (no_mixed_policy)."""
        if self.mixed_policy_distillation is None:
            raise ValueError("mixed_policy_distillation is off")
        return self.mixed_policy_distillation

    @property
    def base_trainings(self) -> dict[str, Training]:
        """Name of its settings -> each training of base_student that is set."""
        found = {"temperature_scheduled_learning": self.temperature_scheduled_learning}
        if self.mixed_policy_distillation is not None:
            found["mixed_policy_distillation.training"] = self.mixed_policy_distillation.training
        return found

    @property
    def trainings(self) -> dict[str, Training]:
        """`base_trainings` and those of the further students."""
        return self.base_trainings | {
            f"students.{name}.training": self.student_training(name) for name in self.students
        }

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
        if self.no_mixed_policy and self.release.checkpoint == "dasd":
            raise ValueError(
                f"release.checkpoint is dasd, which is not made ({self.no_mixed_policy}): set "
                "final, best, low_temperature or high_temperature"
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
        for name, training in self.trainings.items():
            if self.response_filtering.max_student_tokens > training.max_length:
                raise ValueError(
                    f"response_filtering.max_student_tokens "
                    f"({self.response_filtering.max_student_tokens}) is above {name}.max_length "
                    f"({training.max_length}): such answers would not fit into a sequence"
                )
            compute = self.compute.training
            if compute.is_elsewhere and (
                training.processes % compute.machines or compute.gpus not in (0, training.processes)
            ):
                raise ValueError(
                    f"{name}.processes is {training.processes}; compute.training has "
                    f"{compute.machines} machine(s) and {compute.gpus} GPU(s), which take an even "
                    "share of the processes, one for each GPU"
                )
        return self


def settings_version(*settings: Any) -> str:
    """Ten hex digits over settings that shape an asset's data; part of its code version."""
    encoded = json.dumps(settings, sort_keys=True, ensure_ascii=False, default=_plain).encode()
    return hashlib.sha256(encoded).hexdigest()[:10]


def _plain(setting: Any) -> Any:
    if isinstance(setting, BaseModel):
        return setting.model_dump(mode="json")
    raise TypeError(f"a {type(setting).__name__} is no setting")
