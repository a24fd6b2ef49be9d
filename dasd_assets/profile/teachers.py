"""Which questions each of several teachers answers, and whether that can be done."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from resources.engines.settings import ServerSettings

if TYPE_CHECKING:
    from dasd_assets.profile import Profile, Teacher

ALL = "all"
FIRST = "teacher"
"""What the first teacher is called among several."""

QuestionShare = Literal["all"] | Annotated[float, Field(gt=0.0, le=1.0)]


def check_teachers(profile: Profile) -> None:
    """Refuse teachers that cannot share the questions, by name.

    Raises:
        ValueError: further teachers and no first one; a name that is taken; two whose rows nobody
            could tell apart; shares that add up to more than 1, or that leave questions out.
    """
    if profile.teacher is None:
        if profile.teachers:
            raise ValueError(
                f"teachers names {', '.join(profile.teachers)}, and teacher is null: make one of "
                "them `teacher`, which also continues the rollouts and scores"
            )
        return
    if FIRST in profile.teachers:
        raise ValueError("teachers cannot be called teacher: the first one is. Choose another name")
    seen: dict[tuple[str | None, ...], str] = {}
    for name, teacher in _settings(profile).items():
        other = seen.setdefault(_who(teacher), name)
        if other != name:
            raise ValueError(
                f"{name} and {other} are the same model ({teacher.path}): nobody could tell whose "
                "an answer is. For more answers of one teacher set "
                "teacher_responses.samples_per_question"
            )
    shares = {
        name: teacher.questions
        for name, teacher in _settings(profile).items()
        if teacher.questions != ALL
    }
    total = sum(Decimal(str(share)) for share in shares.values())
    named = ", ".join(f"{name}.questions {share:g}" for name, share in shares.items())
    if total > 1:
        raise ValueError(f"{named}: add up to {total}, there is only 1 to share out")
    if shares and total < 1 and len(shares) == len(profile.answerers):
        raise ValueError(
            f"{named}: add up to {total}, and nobody answers the other questions. Raise a share, "
            "or let one of the teachers answer all (`questions: all`)"
        )


def _settings(profile: Profile) -> dict[str, Teacher]:
    """The teachers by what their settings are called."""
    return {
        name if name == FIRST else f"teachers.{name}": teacher
        for name, teacher in profile.answerers.items()
    }


def _who(teacher: Teacher) -> tuple[str | None, ...]:
    """What tells a teacher's rows from those of another."""
    engine = teacher.engine
    served = engine.served_model if isinstance(engine, ServerSettings) else None
    return (teacher.path, teacher.revision, served)
