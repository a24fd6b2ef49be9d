"""Limits and severities of the data checks: the section `checks` of a profile.

The models are made from the contracts, so that a profile can name every check and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, create_model, model_validator

from dasd_assets.profile.data_contracts import CONTRACTS, Contract, Severity
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


def _settings_of(contract: Contract) -> tuple[type[CheckSettings], Any]:
    defaults = {
        "severity": contract.severity, "min": contract.minimum, "max": contract.maximum,
    }  # fmt: skip
    fields: dict[str, Any] = {
        name: (CheckSettings.model_fields[name].annotation, default)
        for name, default in defaults.items()
    }
    model = create_model(contract.name, __base__=CheckSettings, **fields)
    make: Any = model
    return model, Field(default_factory=make, description=contract.description)


def _settings_of_asset(asset: str) -> tuple[type[BaseModel], Any]:
    fields: dict[str, Any] = {
        contract.name: _settings_of(contract) for contract in CONTRACTS[asset]
    }
    model = create_model(asset, __base__=Section, **fields)
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
