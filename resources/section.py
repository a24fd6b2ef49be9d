"""What all settings classes share: strictness, whoever reads them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """Base of all settings: unknown keys and infinite numbers are errors, values cannot change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        # Else pydantic prepares each class alone, and once more inside of what holds it.
        defer_build=True,
    )
