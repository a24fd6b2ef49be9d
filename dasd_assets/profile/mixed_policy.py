"""Settings of mixed-policy distillation."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from dasd_assets.profile.section import Temperature
from resources.section import Probability, Section
from training.settings import OneEpoch


def off_is_none(section: Any) -> Any:
    """`off`, which YAML reads as false, for no stage 3."""
    return None if section is False or section == "off" else section


class RandomCut(Section):
    """Rollouts are cut anywhere beyond min_cut_fraction (paper section 6.4.2)."""

    kind: Literal["random"] = Field("random", description="how the cut is chosen")


class EntropyCut(Section):
    """Rollouts are cut where the student starts to guess (after MOTAB, arXiv 2605.19433)."""

    kind: Literal["entropy"] = Field("entropy", description="how the cut is chosen")
    window_tokens: int = Field(
        64, ge=1, description="tokens whose mean surprisal stands for the entropy at their place"
    )
    quantile: Probability = Field(
        0.99,
        description="a window beyond this quantile of those before min_cut_fraction is a boundary; "
        "1: one beyond all of them",
    )


Cut = RandomCut | EntropyCut


class MixedPolicyDistillation(Section):
    """Student rollouts finished by the teacher (paper sections 5 and 6.4.2)."""

    rollout_questions: int = Field(ge=1, description="questions sampled from the divergence sample")
    cap_ratio: float = Field(1.5, gt=1.0, description="rollout cap over the teacher's token count")
    temperature: Temperature = Field(1.0, description="of rollouts and continuations")
    min_cut_fraction: Probability = Field(0.5, description="the cut lies beyond this share")
    cut: Cut = Field(
        default_factory=RandomCut,
        discriminator="kind",
        description="where a rollout is cut, see docs/mixed-policy.md",
    )
    off_policy_samples: int = Field(ge=0, description="divergence-sample rows mixed in")
    distinct_questions: bool = Field(
        True,
        description="no off-policy row to a question that a mixed-policy row is to (the paper does "
        "not say)",
    )
    mask_student_prefix: bool = Field(
        False, description="no loss on the student's prefix (the paper: masking hurts)"
    )
    training: OneEpoch = Field(default_factory=OneEpoch)
