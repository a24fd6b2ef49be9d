"""Settings of evaluation."""

from __future__ import annotations

from pydantic import Field

from dasd_assets.profile.section import PartitionName, Section, Temperature


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
