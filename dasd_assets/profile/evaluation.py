"""Settings of evaluation."""

from __future__ import annotations

from datetime import date
from typing import Final, Literal

from pydantic import Field, model_validator

from dasd_assets.profile.section import PartitionName, Temperature
from resources.section import Section

DOMAIN_OF_FORMAT: Final = {
    "aime": "math", "gpqa": "science", "gsm8k": "math", "livecodebench": "code",
    "math_500": "math",
}  # fmt: skip
"""Format of an evaluation set -> domain of its questions; of `questions` each row says it."""


class Benchmark(Section):
    """One evaluation set; docs/evaluation.md shows a row of each format."""

    path: str = Field(
        description="JSONL, Parquet or CSV file, folder of a data set, or "
        "`hf://datasets/<owner>/<name>[@revision]` on the hub"
    )
    format: Literal["questions", "aime", "gpqa", "gsm8k", "livecodebench", "math_500"] = Field(
        "questions",
        description="how a row becomes a question and its reference; `questions` has the columns "
        "of a question drop",
    )
    files: str = Field(
        "*", description="files of a folder that are read, by their path inside it; * is anything"
    )
    since: date | None = Field(
        None, description="livecodebench: first day of the contests that are asked"
    )
    before: date | None = Field(
        None, description="livecodebench: day from which on contests are not asked"
    )
    max_tokens: int = Field(ge=1, description="cap on an answer, in student tokens")

    @model_validator(mode="after")
    def _window_fits(self) -> Benchmark:
        if (self.since or self.before) and self.format != "livecodebench":
            raise ValueError(f"since and before are for livecodebench; {self.format} has no dates")
        if self.since and self.before and self.since >= self.before:
            raise ValueError(f"since ({self.since}) must be earlier than before ({self.before})")
        return self


class EvaluationProvenance(Section):
    """Whose sentences a checkpoint writes (arXiv 2512.20908; the report's Figs. 5 and 6)."""

    answers_per_question: int = Field(
        4,
        ge=0,
        description="answers to each evaluation question that are looked at, the first ones; each "
        "costs a pass of teacher and base student. 0: none",
    )
    alpha: float = Field(
        0.1,
        gt=0.0,
        lt=1.0,
        description="a sentence to which teacher, base student and checkpoint give probabilities "
        "no further apart is Shared",
    )
    beta: float = Field(
        0.1,
        gt=0.0,
        lt=1.0,
        description="of the others, p_teacher - p_student > beta makes a Teacher Sentence, the "
        "reverse a Student Sentence; the rest is Boosted",
    )


class Evaluation(Section):
    """avg@k over the evaluation sets (paper section 7.3)."""

    benchmarks: dict[PartitionName, Benchmark] = Field(min_length=1)
    samples_per_question: int = Field(64, ge=1, description="k of avg@k")
    temperature: Temperature = Field(1.0, description="of the answers")
    top_p: float = Field(1.0, gt=0.0, le=1.0, description="nucleus sampling mass")
    confidence: float = Field(0.95, gt=0.0, lt=1.0, description="of the bootstrap intervals")
    bootstrap_resamples: int = Field(2_000, ge=100, description="draws of each interval")
    provenance: EvaluationProvenance = Field(default_factory=EvaluationProvenance)
