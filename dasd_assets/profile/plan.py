"""Figures that `dasd plan` reckons with; they shape no data."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from dasd_assets.profile.section import DomainName, PartitionName, StudentName
from resources.section import Section

Positive = Annotated[float, Field(gt=0.0)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
Work = Literal["teacher", "student", "scoring", "training"]
"""What a model does: the teacher or the student samples, the student scores, or is trained."""

T = TypeVar("T")


def _form(setting: Any) -> str:
    return "by_domain" if isinstance(setting, dict) else "number"


ByDomain = Annotated[
    Annotated[T, Tag("number")]
    | Annotated[dict[DomainName, T], Field(min_length=1), Tag("by_domain")],
    Discriminator(_form),
]
"""One number for all domains, or domain -> number."""


class ModelShape(Section):
    """Size of a model, for a machine that does not hold its files."""

    parameters: float = Field(gt=0.0, description="weights in all")
    active_parameters: float | None = Field(
        None,
        gt=0.0,
        description="weights that a token goes through (mixture of experts); unset: all",
    )
    weight_bytes: float | None = Field(
        None, gt=0.0, description="bytes of the files; unset: two bytes a parameter"
    )
    layers: int = Field(ge=1, description="decoder layers")
    full_attention_layers: int | None = Field(
        None, ge=0, description="layers whose cache grows with the context; unset: all"
    )
    heads: int = Field(ge=1, description="query heads of one layer")
    kv_heads: int = Field(ge=1, description="key-value heads of one layer")
    head_dim: int = Field(ge=1, description="width of a head")
    hidden_size: int = Field(ge=1, description="width of the hidden states")
    vocab_size: int = Field(ge=1, description="entries of the output layer")


class PlanSettings(Section):
    """What is known or assumed beforehand; what an earlier run measured goes before it."""

    origin: dict[str, str] = Field(
        default_factory=dict,
        description="setting of this section -> where its figure is from, or why it is assumed; "
        "the plan says it beside the figure",
    )
    questions: ByDomain[Count] | None = Field(
        None,
        description="questions to plan for, in all or domain -> questions; unset: what the inbox "
        "holds",
    )
    mean_prompt_tokens: Positive | None = Field(None, description="of a rendered question")
    mean_answer_tokens: dict[PartitionName, ByDomain[Positive]] = Field(
        default_factory=dict,
        description="temperature -> tokens of an answer, thinking included: one number, or domain "
        "-> number",
    )
    mean_evaluation_tokens: Positive | None = Field(
        None, description="of a student's answer to an evaluation question"
    )
    kept_share: Share | None = Field(None, description="of answers that pass the filters")
    truncated_share: Share | None = Field(
        None, description="of rollouts that hit their cap and are continued by the teacher"
    )
    mean_sentence_tokens: Positive | None = Field(None, description="of a sentence of an answer")
    packing_efficiency: Share | None = Field(
        None, description="share of the positions of packed sequences that hold tokens"
    )
    benchmark_questions: dict[PartitionName, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="evaluation set -> questions, where the file is not here"
    )
    teacher_tokens_per_second: Positive | None = Field(
        None, description="sampled by the teacher, per GPU (without GPUs: per run)"
    )
    student_tokens_per_second: Positive | None = Field(
        None, description="sampled by the student, per GPU (without GPUs: per run)"
    )
    scoring_tokens_per_second: Positive | None = Field(
        None, description="scored by the student, per GPU (without GPUs: per run)"
    )
    training_tokens_per_second: Positive | None = Field(
        None, description="trained on, per GPU (without GPUs: per run)"
    )
    peak_flops_per_second: Positive | None = Field(
        None, description="of one GPU (without GPUs: of one run), dense, in the type computed in"
    )
    share_of_peak: dict[Work, Share] = Field(
        default_factory=dict,
        description="teacher, student (both sampling), scoring or training -> share of the peak "
        "that it reaches, what is computed again counted; tells the tokens per second where none "
        "are given, docs/plan.md",
    )
    price_per_gpu_hour: float | None = Field(
        None, ge=0.0, description="in the currency of the engine's prices; unset: not reckoned"
    )
    hours_per_partition: float = Field(
        2.0, gt=0.0, description="work that one partition of the teacher should be at most"
    )
    teacher: ModelShape | None = None
    base_student: ModelShape | None = None
    students: dict[StudentName, ModelShape] = Field(
        default_factory=dict, description="name -> size of a further student"
    )

    @field_validator("origin")
    @classmethod
    def _is_of_settings(cls, origin: dict[str, str]) -> dict[str, str]:
        if unknown := sorted(set(origin) - set(cls.model_fields)):
            raise ValueError(f"{', '.join(unknown)}: no setting of the section plan")
        return origin

    @model_validator(mode="after")
    def _shares_have_a_peak(self) -> PlanSettings:
        if bool(self.share_of_peak) != (self.peak_flops_per_second is not None):
            raise ValueError(
                "share_of_peak and peak_flops_per_second belong together: tokens per second are "
                "share x peak / FLOP of a token"
            )
        return self
