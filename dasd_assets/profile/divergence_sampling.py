"""Settings of divergence-aware sampling."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from dasd_assets.profile.section import PartitionName
from resources.section import Probability, Section

SHARES_TOLERANCE = 0.001
"""Of the sum of the domains' shares, which are written with few digits."""

WITHOUT_TEACHER = ("random", "longest", "student_surprisal", "rank_surprisal_ratio")
"""Selection policies that need no probability of the teacher."""

SegmenterName = Literal["reasoning-rules", "sentencex"]


class DifferenceRule(Section):
    """Classes by difference (arXiv 2512.20908, and the caption of the report's Fig. 5)."""

    kind: Literal["difference"] = Field("difference", description="which rule")
    beta: float = Field(
        0.1,
        gt=0.0,
        lt=1.0,
        description="p_teacher - p_student > beta makes a Teacher Sentence, the reverse a Student "
        "Sentence",
    )

    def said(self, above: str, below: str) -> str:
        """When the first of two probabilities is far above the second, in words and in SQL."""
        return f"{above} - {below} > {self.beta:g}"


class RatioRule(Section):
    """Classes by ratio: a difference of the mean logprobs."""

    kind: Literal["ratio"] = Field("ratio", description="which rule")
    ratio: float = Field(
        2.0,
        gt=1.0,
        description="p_teacher >= ratio x p_student makes a Teacher Sentence, the reverse a "
        "Student Sentence",
    )

    def said(self, above: str, below: str) -> str:
        """When the first of two probabilities is far above the second, in words and in SQL."""
        return f"{above} >= {self.ratio:g} * {below}"


ClassRule = DifferenceRule | RatioRule


class NoWeights(Section):
    """Every sample counts the same in training, as in the paper's runs."""

    kind: Literal["none"] = Field("none", description="which weights")


class PowerWeights(Section):
    """Samples count by the teacher's probability of the answer (the paper's section 8)."""

    kind: Literal["power"] = Field("power", description="which weights")
    exponent: float = Field(
        1.0,
        gt=0.0,
        le=10.0,
        description="of p_teacher, the geometric mean of the teacher's token probabilities",
    )
    max_weight: float = Field(
        4.0,
        gt=1.0,
        description="largest weight of a sample; the mean weight is 1",
    )


SampleWeights = NoWeights | PowerWeights


class DivergenceSampling(Section):
    """Divergence-aware sampling (paper section 4)."""

    rule: ClassRule = Field(
        default_factory=DifferenceRule,
        discriminator="kind",
        description="how far apart the probabilities of a Teacher or a Student Sentence are; all "
        "between is Common, see docs/provenance.md",
    )
    segmenter: SegmenterName = Field(
        "reasoning-rules",
        description="what cuts answers into sentences. reasoning-rules: for reasoning text in "
        "English, Chinese, Japanese and Korean; sentencex: the library's rules on the same lines, "
        "code and formulas",
    )
    policy: Literal[
        "divergence_count",
        "divergence_share",
        "divergence_tokens",
        "random",
        "longest",
        "teacher_likelihood",
        "student_surprisal",
        "rank_surprisal_ratio",
    ] = Field(
        "divergence_count", description="how responses are ranked, see docs/selection-policies.md"
    )
    budget_samples: dict[PartitionName, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="partition name -> responses to select"
    )
    budget_tokens: dict[PartitionName, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict,
        description="partition name -> student tokens to select at most; a partition has a budget "
        "in samples or one in tokens",
    )
    best_of_question: bool = Field(
        True,
        description="the best answer to each question first, then the second best while the budget "
        "lasts (arXiv 2512.20908); false: the best answers, whatever they are to",
    )
    max_answers_per_question: int | None = Field(
        None,
        ge=1,
        description="answers to one question that may be selected per temperature; unset: any",
    )
    domain_shares: dict[PartitionName, dict[str, Probability]] = Field(
        default_factory=dict,
        description="partition name -> domain -> share of its budget, together 1; a partition "
        "without: as its filtered responses have it",
    )
    length_strata: int = Field(
        1,
        ge=1,
        le=100,
        description="quantile bins of the answers' student tokens within a domain; each gets a "
        "part of the domain's budget in proportion to its candidates. 1: lengths are not looked at",
    )
    require_all_shards: bool = Field(
        False,
        description="true: a sample is drawn only when every question_shard is ready; false: from "
        "those that are ready, and the check `shards_ready` names the others",
    )
    exclude_shards: list[str] = Field(
        default_factory=list,
        description="question_shards that no sample is drawn from; what was made of them stays",
    )

    weights: SampleWeights = Field(
        default_factory=NoWeights,
        discriminator="kind",
        description="what a sample counts in the training loss, see docs/training.md",
    )

    @field_validator("domain_shares")
    @classmethod
    def _whole(cls, shares: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        for partition, of_domains in shares.items():
            total = sum(of_domains.values())
            if abs(total - 1.0) > SHARES_TOLERANCE:
                raise ValueError(
                    f"the shares of {partition} are {total:g} together; they have to be 1"
                )
        return shares

    def budget(self, partition: str) -> tuple[Literal["samples", "tokens"], int]:
        """Unit and size of the budget of one temperature partition."""
        if partition in self.budget_tokens:
            return "tokens", self.budget_tokens[partition]
        return "samples", self.budget_samples[partition]
