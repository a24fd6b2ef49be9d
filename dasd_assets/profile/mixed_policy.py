"""Settings of mixed-policy distillation."""

from __future__ import annotations

from pydantic import Field

from dasd_assets.profile.section import Temperature
from resources.section import Probability, Section
from training.settings import OneEpoch


class MixedPolicyDistillation(Section):
    """Student rollouts finished by the teacher (paper sections 5 and 6.4.2)."""

    rollout_questions: int = Field(ge=1, description="questions sampled from the divergence sample")
    cap_ratio: float = Field(1.5, gt=1.0, description="rollout cap over the teacher's token count")
    temperature: Temperature = Field(1.0, description="of rollouts and continuations")
    min_cut_fraction: Probability = Field(0.5, description="the cut lies beyond this share")
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
