"""Which releases of Dagster this project is made for."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata
from typing import Final

from packaging.requirements import Requirement

DISTRIBUTION: Final = "dasd-dagster"


class DagsterReleaseError(ImportError):
    """The Dagster that is installed is outside the range that this project is made for."""


def require_release(found: str, declared: Iterable[str]) -> None:
    """Refuse a release of Dagster that no check of this project has seen.

    Args:
        found: version that is imported.
        declared: requirements of the project, as its package's metadata has them.

    Raises:
        DagsterReleaseError: saying what is installed and what to install.
    """
    for requirement in map(Requirement, declared):
        if requirement.name == "dagster" and not requirement.specifier.contains(found):
            raise DagsterReleaseError(
                f"Dagster {found} is installed, {DISTRIBUTION} is made for dagster"
                f"{requirement.specifier}. Install one of these (uv pip install "
                f"'{requirement}'), or widen the range in pyproject.toml and mend "
                "dasd_assets/dagster_internals until `make newest-dagster` passes."
            )


def declared() -> list[str]:
    """Requirements of the installed project."""
    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:  # a checkout that is not installed declares nothing
        return []
