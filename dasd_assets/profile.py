"""A profile: one validated YAML that holds every setting of a pipeline.

`load_profile("tiny")` reads a profile shipped with the project, `load_profile("my.yaml")` the
user's own. An unknown key or a bad value is an error that names file, key, value and what is
allowed. Section names are the names of the asset groups.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from dasd_assets.check_settings import Checks
from resources.compute import Compute
from resources.engines.settings import EngineSettings, OpenAiSettings, TransformersSettings

PROFILE_FOLDER = Path(__file__).parent / "profiles"
PROJECT_ROOT = Path(__file__).parent.parent

Probability = Annotated[float, Field(ge=0.0, le=1.0)]


def _not_raised_silently(temperature: float) -> float:
    if 0.0 < temperature < MIN_TEMPERATURE:
        raise ValueError(
            f"a temperature is 0 (greedy) or at least {MIN_TEMPERATURE}: vLLM would sample at "
            f"{MIN_TEMPERATURE} instead"
        )
    return temperature


MIN_TEMPERATURE = 0.01
Temperature = Annotated[float, Field(ge=0.0, le=2.0), AfterValidator(_not_raised_silently)]
SegmenterName = Literal["reasoning-rules", "sentencex"]
PartitionName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]

DOMAINS = ("math", "code", "science", "instruction_following")
"""Domains of questions; each has its grader."""


class ProfileError(ValueError):
    """A profile that cannot be used; the message names file, key, value and what is allowed."""


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values cannot change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Model(Section):
    """A model folder in Hugging Face layout, or the id of one in the local hub cache."""

    path: str = Field(description="folder (relative to the project root) or hub id")
    revision: str | None = Field(None, description="hub revision; a folder is hashed instead")
    engine: EngineSettings = Field(
        default_factory=TransformersSettings, description="how the model is run"
    )


class MappedField(Section):
    """Where one field of a question comes from: a column, or one value for all rows.

    A bare string in the YAML is a column.
    """

    column: str | None = Field(
        None,
        pattern=r"^[^.\[\]]+(\.[^.\[\]]+|\[\d+\])*$",
        description="column of the file, or a path into one: `messages[0].content`",
    )
    value: str | int | None = Field(None, description="the same value for every row")
    values: dict[str, str | int | None] | None = Field(
        None,
        description="what the column says -> what it means here; a row that says something else "
        "is quarantined",
    )
    optional: bool = Field(
        False, description="a row in which the column is null or absent is kept, with null"
    )

    @model_validator(mode="before")
    @classmethod
    def _column_alone(cls, setting: Any) -> Any:
        return {"column": setting} if isinstance(setting, str) else setting

    @model_validator(mode="after")
    def _one_origin(self) -> MappedField:
        if ("column" in self.model_fields_set) == ("value" in self.model_fields_set):
            raise ValueError("a field is mapped by either column or value")
        if self.column is None and (self.values is not None or self.optional):
            raise ValueError("values and optional belong to a column")
        return self


class Layout(Section):
    """Which columns of a drop hold what (docs/bring-your-own-questions.md has examples)."""

    files: str = Field("*", description="which data files of a folder: a pattern of their paths")
    question: MappedField = Field(description="text of the question")
    domain: MappedField = Field(description="math, code, science or instruction_following")
    answer: MappedField = Field(
        description="reference answer; `{value: null}` for questions that have none"
    )
    difficulty: MappedField = Field(MappedField(value=None), description="a whole number")
    source: MappedField = Field(MappedField(value=None), description="where the question is from")

    @model_validator(mode="after")
    def _domains_exist(self) -> Layout:
        domain = self.domain
        named = [domain.value] if domain.column is None else [*(domain.values or {}).values()]
        unknown = [name for name in named if name not in DOMAINS]
        if unknown:
            raise ValueError(f"domain {unknown[0]!r}; known: {', '.join(DOMAINS)}")
        return self


class Questions(Section):
    """Curation of question drops (paper section 6.1)."""

    inbox: str = Field(description="folder that question drops are put into")
    layouts: dict[str, Layout] = Field(
        default_factory=dict,
        description="name of a drop without its suffix (`*` stands for anything) -> which of its "
        "columns hold what; the first that fits counts. A drop that none fits has the columns "
        "question, domain, answer and, if it likes, difficulty and source",
    )
    decontamination_ngram_words: int = Field(
        13,
        ge=3,
        description="a question sharing this many consecutive words with an evaluation "
        "question is rejected; a shorter question is compared whole",
    )
    near_duplicate_jaccard: float | None = Field(
        0.8,
        gt=0.0,
        le=1.0,
        description="a question with the same numbers, symbols and single letters as a kept one, "
        "and at least this Jaccard similarity of their word shingles, is rejected; null: keep "
        "near-duplicates",
    )
    near_duplicate_shingle_words: int = Field(
        5,
        ge=1,
        description="words of a shingle; the more, the closer two questions have to be: one "
        "changed word changes this many shingles",
    )
    near_duplicate_permutations: int = Field(
        128,
        ge=16,
        le=1_024,
        description="MinHash permutations; the more, the fewer near-duplicates are missed",
    )
    max_row_bytes: int = Field(
        1_048_576, ge=1_024, description="a longer row of a drop is quarantined, never used"
    )


class TeacherResponses(Section):
    """Sampling the teacher (paper sections 3 and 6.2)."""

    temperatures: dict[PartitionName, Temperature] = Field(
        description="partition name -> sampling temperature; `low` and `high` are required"
    )
    samples_per_question: dict[PartitionName, Annotated[int, Field(ge=1)]] = Field(
        description="partition name -> answers per question"
    )
    top_p: float = Field(1.0, gt=0.0, le=1.0, description="nucleus sampling mass")
    max_tokens: int = Field(ge=1, description="cap on an answer, in teacher tokens")
    reasoning_effort: Literal["low", "medium", "high"] = Field("high", description="gpt-oss effort")

    @model_validator(mode="after")
    def _temperatures_match(self) -> TeacherResponses:
        missing = {"low", "high"} - set(self.temperatures)
        if missing:
            raise ValueError(f"temperatures must name low and high; missing: {sorted(missing)}")
        if set(self.temperatures) != set(self.samples_per_question):
            raise ValueError(
                f"samples_per_question must name the same partitions as temperatures: "
                f"{sorted(self.temperatures)}, got {sorted(self.samples_per_question)}"
            )
        return self


class Verification(Section):
    """Limits of judging whether an answer is right."""

    math_seconds: float = Field(
        5.0, gt=0.0, le=600.0, description="wall clock of comparing two expressions; it may hang"
    )
    code_seconds: float = Field(
        10.0,
        gt=0.0,
        le=600.0,
        description="processor time of a program's test; by the wall clock, three times as much",
    )
    code_memory_mib: int = Field(
        1024, ge=64, description="memory of each of a program's processes (four at most)"
    )


class ResponseFiltering(Section):
    """Rules that an answer must keep (paper section 6.3)."""

    max_student_tokens: int = Field(
        ge=1, description="training context: longer answers (prompt included) are dropped, not cut"
    )
    min_repeated_words: int = Field(
        6,
        ge=1,
        description="shorter paragraphs and sentences are not counted: `Wait.`, `}` and list "
        "numbers recur in honest text, and a loop of them is a repeated phrase",
    )
    max_paragraph_repeats: int = Field(
        3, ge=1, description="the same paragraph more often than this is a loop"
    )
    max_sentence_repeats: int = Field(
        5, ge=1, description="the same sentence more often than this is a loop"
    )
    repeated_ngram_words: int = Field(
        8,
        ge=2,
        description="length of the phrases that are counted; a Chinese or Japanese character "
        "counts as a word",
    )
    max_ngram_repeats: int = Field(
        10, ge=1, description="the same phrase more often than this, without overlap, is a loop"
    )
    max_loop_characters: int = Field(
        512,
        ge=64,
        description="a stretch without white space that repeats itself for longer is a loop",
    )
    verify_domains: list[Literal["math", "code", "science", "instruction_following"]] = Field(
        default_factory=list,
        description="domains whose answers must be correct (the paper has no such rule)",
    )
    verification: Verification = Field(default_factory=Verification)


class DivergenceSampling(Section):
    """Divergence-aware sampling (paper section 4)."""

    min_probability_ratio: float = Field(
        2.0,
        gt=1.0,
        description="p_teacher >= ratio x p_student makes a Teacher Sentence, the "
        "reverse a Student Sentence; all between is Shared. The paper names no number, see "
        "docs/provenance.md",
    )
    segmenter: SegmenterName = Field(
        "reasoning-rules",
        description="what cuts answers into sentences. reasoning-rules: for reasoning text in "
        "English, Chinese, Japanese and Korean; sentencex: the library's rules on the same lines, "
        "code and formulas",
    )
    policy: Literal[
        "divergence",
        "divergence_count",
        "divergence_tokens",
        "random",
        "longest",
        "teacher_likelihood",
        "student_surprisal",
        "rank_surprisal_ratio",
    ] = Field("divergence", description="how responses are ranked, see docs/selection-policies.md")
    budget_samples: dict[PartitionName, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="partition name -> responses to select"
    )
    budget_tokens: dict[PartitionName, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict,
        description="partition name -> student tokens to select at most; a partition has a budget "
        "in samples or one in tokens",
    )
    max_answers_per_question: int = Field(
        1, ge=1, description="answers to one question that may be selected per temperature"
    )
    domain_shares: dict[str, Probability] | None = Field(
        None, description="share of the budget per domain; unset: as the filtered responses have it"
    )
    length_strata: int = Field(
        1,
        ge=1,
        le=100,
        description="quantile bins of the answers' student tokens within a domain; each gets a "
        "part of the domain's budget in proportion to its candidates. 1: lengths are not looked at",
    )

    def budget(self, partition: str) -> tuple[Literal["samples", "tokens"], int]:
        """Unit and size of the budget of one temperature partition."""
        if partition in self.budget_tokens:
            return "tokens", self.budget_tokens[partition]
        return "samples", self.budget_samples[partition]


class Restart(Section):
    """When a training run saves its whole state, to go on from it after a kill."""

    every_steps: int = Field(0, ge=0, description="save after every so many steps; 0: not by steps")
    every_minutes: float = Field(
        15.0, ge=0.0, description="save when so many minutes have passed; 0: not by time"
    )
    keep: int = Field(2, ge=1, description="restart points kept; one of 4B parameters has ~56 GB")


class Training(Section):
    """Supervised fine-tuning settings (paper section 6.4.1 and the authors' training YAMLs)."""

    epochs: int = Field(6, ge=1)
    learning_rate: float = Field(5e-5, gt=0.0, description="peak learning rate")
    min_learning_rate: float = Field(1e-5, ge=0.0, description="end of the cosine")
    warmup_ratio: Probability = Field(0.1, description="share of the steps with linear warm-up")
    adam_beta1: float = Field(0.9, ge=0.0, lt=1.0)
    adam_beta2: float = Field(0.95, ge=0.0, lt=1.0)
    adam_epsilon: float = Field(1e-8, gt=0.0)
    weight_decay: float = Field(0.1, ge=0.0)
    max_grad_norm: float = Field(1.0, gt=0.0)
    global_batch_size: int = Field(64, ge=1, description="packed sequences per optimiser step")
    micro_batch_size: int = Field(1, ge=1, description="packed sequences per device and pass")
    max_length: int = Field(65_536, ge=8, description="tokens of one packed sequence")
    dtype: Literal["float32", "bfloat16"] = Field("bfloat16", description="compute precision")
    gradient_checkpointing: bool = Field(True, description="recompute activations")
    liger_kernel: bool = Field(False, description="fused Triton kernels (GPU only)")
    deepspeed_zero_stage: Literal[0, 2, 3] = Field(0, description="0: no DeepSpeed")
    processes: int = Field(1, ge=1, description="training processes (one per GPU)")
    seed: int = Field(42, ge=0)
    restart: Restart = Field(default_factory=Restart, description="shapes no weights")

    @model_validator(mode="after")
    def _consistent(self) -> Training:
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(
                f"min_learning_rate ({self.min_learning_rate}) is above learning_rate "
                f"({self.learning_rate})"
            )
        if self.global_batch_size % (self.micro_batch_size * self.processes):
            raise ValueError(
                f"global_batch_size ({self.global_batch_size}) is no multiple of "
                f"micro_batch_size x processes ({self.micro_batch_size} x {self.processes})"
            )
        return self


class MixedPolicyDistillation(Section):
    """Student rollouts finished by the teacher (paper sections 5 and 6.4.2)."""

    rollout_questions: int = Field(ge=1, description="questions sampled from the divergence sample")
    cap_ratio: float = Field(1.5, gt=1.0, description="rollout cap over the teacher's token count")
    temperature: Temperature = Field(1.0, description="of rollouts and continuations")
    min_cut_fraction: Probability = Field(0.5, description="the cut lies beyond this share")
    off_policy_samples: int = Field(ge=0, description="divergence-sample rows mixed in")
    mask_student_prefix: bool = Field(
        False, description="no loss on the student's prefix (the paper: masking hurts)"
    )
    training: Training = Field(default_factory=Training)


class Benchmark(Section):
    """One evaluation set."""

    path: str = Field(description="JSONL file, relative to the project root")
    max_tokens: int = Field(ge=1, description="cap on an answer, in student tokens")


class Evaluation(Section):
    """avg@k over the evaluation sets (paper section 7.3)."""

    benchmarks: dict[PartitionName, Benchmark] = Field(min_length=1)
    samples_per_question: int = Field(64, ge=1, description="k of avg@k")
    temperature: Temperature = 1.0
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    confidence: float = Field(0.95, gt=0.0, lt=1.0, description="of the bootstrap intervals")
    bootstrap_resamples: int = Field(2_000, ge=100)


class ComputePlan(Section):
    """What each kind of work asks for; becomes pools, container limits and UI metadata."""

    data: Compute = Field(default_factory=lambda: Compute(pool=None))
    teacher_inference: Compute = Field(default_factory=lambda: Compute(pool="teacher"))
    student_inference: Compute = Field(default_factory=lambda: Compute(pool="student"))
    training: Compute = Field(default_factory=lambda: Compute(pool="training"))


class Profile(Section):
    """Every setting of one pipeline."""

    name: PartitionName = Field(description="name of the profile")
    description: str = Field(description="what it is for, one line")
    seed: int = Field(0, ge=0, description="seed of everything random but training")
    system_prompt: str = Field(
        "You are a helpful assistant.", description="the same in sampling, training, evaluation"
    )
    teacher: Model
    base_student: Model
    questions: Questions
    teacher_responses: TeacherResponses
    response_filtering: ResponseFiltering
    divergence_sampling: DivergenceSampling
    temperature_scheduled_learning: Training
    mixed_policy_distillation: MixedPolicyDistillation
    evaluation: Evaluation
    checks: Checks = Field(
        default_factory=Checks,
        description="asset -> check -> limits and severity, see docs/data-contracts.md",
    )
    compute: ComputePlan = Field(default_factory=ComputePlan)

    @model_validator(mode="after")
    def _sections_agree(self) -> Profile:
        if isinstance(self.base_student.engine, OpenAiSettings):
            raise ValueError(
                "base_student.engine.kind must be transformers or vllm: the checkpoints trained "
                "here have to be loaded, a server has only its own model"
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
        stages = {
            "temperature_scheduled_learning": self.temperature_scheduled_learning,
            "mixed_policy_distillation.training": self.mixed_policy_distillation.training,
        }
        for name, training in stages.items():
            if self.response_filtering.max_student_tokens > training.max_length:
                raise ValueError(
                    f"response_filtering.max_student_tokens "
                    f"({self.response_filtering.max_student_tokens}) is above {name}.max_length "
                    f"({training.max_length}): such answers would not fit into a sequence"
                )
        return self


def resolve_path(path: str) -> Path:
    """A path of the profile: absolute as it is, else below the project root."""
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
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ProfileError(f"{file}: no valid YAML: {error}") from error
    if not isinstance(settings, dict):
        raise ProfileError(
            f"{file}: expected a mapping of sections, found {type(settings).__name__}"
        )
    try:
        return Profile.model_validate(settings)
    except ValidationError as error:
        raise ProfileError(_explain(file, error)) from error


def _explain(file: Path, error: ValidationError) -> str:
    problems = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "(whole profile)"
        if problem["type"] == "extra_forbidden":
            allowed = ", ".join(_allowed_keys(problem["loc"][:-1]))
            problems.append(f"{key}: unknown key. Allowed here: {allowed}")
        elif problem["type"] == "missing":
            problems.append(f"{key}: required, but missing")
        elif isinstance(problem["input"], dict):
            problems.append(f"{key}: {problem['msg']}")
        else:
            problems.append(f"{key}: {problem['msg']}; found {problem['input']!r}")
    return f"{file}: {len(problems)} setting(s) cannot be used:\n" + "\n".join(
        f"  - {problem}" for problem in problems
    )


def _allowed_keys(location: tuple[int | str, ...]) -> list[str]:
    """Keys of the section at a location of the profile, for the message about an unknown one."""
    section: Any = Profile
    for part in location:
        fields = getattr(section, "model_fields", {})
        # A key of a mapping such as evaluation.benchmarks: step to the mapping's values.
        section = fields[part].annotation if part in fields else section.__args__[-1]
    return sorted(section.model_fields)
