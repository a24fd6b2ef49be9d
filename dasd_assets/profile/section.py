"""Types of settings that several sections of a profile share."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

DomainName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""One of the profile's `domains`; that it is one is checked where the sections meet."""

PartitionName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]

StudentName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")]
"""Of a further student; part of the keys of its assets."""

TeacherName = StudentName
"""Of a further teacher, likewise."""

MIN_TEMPERATURE = 0.01


def _not_raised_silently(temperature: float) -> float:
    if 0.0 < temperature < MIN_TEMPERATURE:
        raise ValueError(
            f"a temperature is 0 (greedy) or at least {MIN_TEMPERATURE}: vLLM would sample at "
            f"{MIN_TEMPERATURE} instead"
        )
    return temperature


Temperature = Annotated[float, Field(ge=0.0, le=2.0), AfterValidator(_not_raised_silently)]
