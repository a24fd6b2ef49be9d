"""Which checkpoints of base_student a profile makes, and which of them is the result."""

from __future__ import annotations

from dasd_assets.profile import Profile
from resources.lake.tables.evaluation import CHECKPOINTS


def checkpoints_of(profile: Profile) -> tuple[str, ...]:
    """Evaluated checkpoints in the order of the stages, the base student first, the result last."""
    return CHECKPOINTS[:-1] if profile.no_mixed_policy else CHECKPOINTS
