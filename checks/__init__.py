"""What must hold: asset checks, one module per box, with the boxes' names."""

import dagster as dg

from checks import (
    divergence_sampling,
    evaluation,
    mixed_policy_distillation,
    questions,
    release,
    response_filtering,
    teacher_responses,
    temperature_scheduled_learning,
    training_proposals,
)
from dasd_assets.profile import Profile

BOXES = (
    questions,
    teacher_responses,
    response_filtering,
    divergence_sampling,
    temperature_scheduled_learning,
    mixed_policy_distillation,
    evaluation,
    release,
)


def build(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """All checks of one profile."""
    return [check for box in (*BOXES, training_proposals) for check in box.build(profile)]
