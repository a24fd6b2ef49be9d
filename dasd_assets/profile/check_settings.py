"""Limits and severities of the data checks: the section `checks` of a profile.

The models are made from the contracts, so that a profile can name every check and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, create_model, model_validator

from dasd_assets.profile.data_contracts import CONTRACTS, Severity
from resources.section import Section

Limit = Annotated[float, Field(allow_inf_nan=False)] | None


class CheckSettings(Section):
    """One check on one asset. `null` takes a limit away."""

    severity: Severity = Field(
        description="how a failure is shown; a blocking check stops what is below with `error` only"
    )
    min: Limit = Field(description="lowest allowed value")
    max: Limit = Field(description="highest allowed value")

    @model_validator(mode="after")
    def _in_order(self) -> CheckSettings:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min:g}) is above max ({self.max:g})")
        return self

    @property
    def allowed(self) -> str:
        """The limits in words."""
        # Exact to all that a person would write: another limit has to read as another.
        if self.min == self.max and self.min is not None:
            return f"{self.min:.15g}"
        limits = [("at least", self.min), ("at most", self.max)]
        said = [f"{words} {limit:.15g}" for words, limit in limits if limit is not None]
        return " and ".join(said) or "anything"


class ChecksSection(Section):
    """Settings of all checks; a field per asset, in each a field per check."""

    def of(self, asset: str) -> dict[str, CheckSettings]:
        """Check name -> settings of one asset."""
        return dict(getattr(self, asset))


class _ChecksOfAsset(Section):
    """The checks on one asset. Not a class per check: making some 180 took half a second."""

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, told: Any) -> Any:
        """A profile names only what it changes of a check."""
        if not isinstance(told, dict):
            return told
        defaults = {name: field.default.model_dump() for name, field in cls.model_fields.items()}
        return {
            name: defaults.get(name, {}) | check if isinstance(check, dict) else check
            for name, check in told.items()
        }


def _settings_of_asset(asset: str) -> tuple[type[BaseModel], Any]:
    fields: dict[str, Any] = {}
    for contract in CONTRACTS[asset]:
        default = CheckSettings(
            severity=contract.severity, min=contract.minimum, max=contract.maximum
        )
        fields[contract.name] = (CheckSettings, Field(default, description=contract.description))
    model = create_model(asset, __base__=_ChecksOfAsset, **fields)
    make: Any = model
    return model, Field(default_factory=make, description=f"checks on {asset}")


if TYPE_CHECKING:
    Checks = ChecksSection
else:
    Checks = create_model(
        "Checks",
        __base__=ChecksSection,
        **{asset: _settings_of_asset(asset) for asset in CONTRACTS},
    )
