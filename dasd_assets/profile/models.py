"""Models of a profile: folder or hub id, engine, format."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from dasd_assets.profile.teachers import ALL, QuestionShare
from formats.format_settings import FormatSettings
from resources.engines.settings import (
    WITHOUT_WEIGHTS,
    EngineSettings,
    TransformersSettings,
)
from resources.hub import SCHEME, parse_address
from resources.section import Section
from training.settings import Training

if TYPE_CHECKING:
    from resources.engines.model_folder import ModelFolder

PACKAGE = Path(__file__).parents[1]
PROFILE_FOLDER = PACKAGE / "profiles"
SHIPPED = PACKAGE / "shipped"
"""What commands need beside the code, as package data; in a checkout, links to where each lies."""
CHECKOUT = PACKAGE.parent if (PACKAGE.parent / "tools" / "tiny_world").is_dir() else None
"""The project's folder if this code is in it; None for an installed wheel, which has no `tools`."""
PROJECT_ROOT = CHECKOUT or Path.cwd()
"""Where shipped profiles are at home: the checkout; of a wheel, the folder it is used in."""
TINY_WORLD = "tiny_world"


class Model(Section):
    """A model folder in Hugging Face layout, or the id of one in the local hub cache."""

    path: str = Field(
        description="folder (see docs/cli.md, paths of a profile), hub id, or "
        "`hf://<owner>/<name>[@revision]`, which is the same as the id and its revision"
    )
    revision: str | None = Field(None, description="hub revision; a folder is hashed instead")
    engine: EngineSettings = Field(
        default_factory=TransformersSettings, description="how the model is run"
    )
    format: FormatSettings = Field(
        FormatSettings(), description="how the model writes its answers, and its chat template"
    )

    @model_validator(mode="before")
    @classmethod
    def _take_address_apart(cls, settings: Any) -> Any:
        path = settings.get("path") if isinstance(settings, dict) else None
        if not (isinstance(path, str) and path.startswith(SCHEME)):
            return settings
        address = parse_address(path)
        if address.is_dataset:
            raise ValueError(f"{path}: is a data set, but a model is needed here")
        revision = settings.get("revision")
        if revision and address.revision and revision != address.revision:
            raise ValueError(f"{path}: names another revision than `revision: {revision}`")
        return settings | {"path": address.name, "revision": revision or address.revision}

    @property
    def location(self) -> str:
        """Its folder on this machine if there is one, else the hub id."""
        folder = resolve_path(self.path)
        return str(folder) if folder.exists() else self.path

    def inspect(self) -> ModelFolder:
        """Check the files that its engine needs.

        Raises:
            ModelFolderError: the folder is missing, incomplete or inconsistent.
        """
        from resources.engines.model_folder import inspect_model

        has_weights = self.engine.kind not in WITHOUT_WEIGHTS
        return inspect_model(self.location, self.revision, weights=has_weights)


class Teacher(Model):
    """A model that is asked for answers."""

    questions: QuestionShare = Field(
        "all",
        # So that a profile which says nothing of it has the versions that it always had.
        exclude_if=lambda questions: questions == ALL,
        description="which questions it answers: all, or its share of them, above 0 and at most 1; "
        "see docs/bring-your-own-teacher.md",
    )
    template_date: date | None = Field(
        None,
        description="what its chat template prints as today's date, where it prints one (gpt-oss); "
        "unset: the day (UTC) on which a partition was begun, for all its prompts and for good",
    )

    def pinned(self) -> list[str]:
        """The date as a setting that shapes data; none if it is not set."""
        return [str(self.template_date)] if self.template_date else []


class Student(Model):
    """A further student, trained on the low-temperature sample that was chosen for base_student."""

    training: Training | None = Field(
        None,
        description="all settings of its training; unset: those of temperature_scheduled_learning",
    )


def resolve_path(path: str) -> Path:
    """A path of a loaded profile: absolute as it is, `tiny_world/…` what is shipped.

    Else it is below the project root.
    """
    if path.startswith(f"{TINY_WORLD}/"):
        return (SHIPPED / path).resolve()
    return PROJECT_ROOT / path
