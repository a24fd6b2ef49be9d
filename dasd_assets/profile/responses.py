"""Settings of sampling the teacher, and of the rules that its answers must keep."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dasd_assets.profile.section import DomainName, PartitionName, Temperature
from resources.engines.settings import MOST_TOP
from resources.section import Section


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
    top_logprobs: int = Field(
        0,
        ge=0,
        le=MOST_TOP,
        # So that a profile which says nothing of it has the versions that it always had.
        exclude_if=lambda k: not k,
        description="how many of the likeliest tokens the teacher tells at each position, with "
        "their logprobs, for trainers that learn from distributions; 0: none. Each takes 8 bytes "
        "for each token of an answer, 3 to 4 on disk; another number asks for all answers again",
    )

    @model_validator(mode="after")
    def _temperatures_match(self) -> TeacherResponses:
        missing = {"low", "high"} - set(self.temperatures)
        if missing:
            raise ValueError(f"temperatures must name low and high; missing: {sorted(missing)}")
        low, high = self.temperatures["low"], self.temperatures["high"]
        if low > high:
            raise ValueError(
                f"temperatures: low ({low:g}) is above high ({high:g}), and the first stage is "
                "trained on low. Exchange them"
            )
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
    require_reasoning: bool = Field(
        True, description="an answer without a reasoning is rejected; false for a plain teacher"
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
    verify_domains: list[DomainName] = Field(
        default_factory=list,
        description="domains whose answers must be correct (the paper has no such rule)",
    )
    judge_domains: list[DomainName] = Field(
        default_factory=list,
        description="domains whose answers are judged and kept, right or wrong: the column "
        "is_correct, and sentence classes of right and of wrong answers (the paper's Fig. 6). "
        "Those of verify_domains are judged in any case",
    )
