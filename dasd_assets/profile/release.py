"""Settings of the released model and data sets."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from resources.section import Section

SHIPPED_LICENCE = "apache-2.0"
"""The licence whose text the project has itself."""

FINAL: Final = "final"
BEST: Final = "best"

HubId = Annotated[str, Field(pattern=r"^([A-Za-z0-9_.-]{1,96}/)?[A-Za-z0-9_.-]{1,96}$")]
"""In ASCII, as on the hub. 96 of all letters that there are, `\\w`, took 0.1 s to prepare."""
Language = Annotated[str, Field(pattern=r"^([a-z]{2,3}|code|multilingual)$")]


class Release(Section):
    """What the cards of `model_release` and `dataset_release` say, and how files are cut."""

    model_id: HubId = Field(
        "dasd-model", description="hub id that the model is to have: NAME or OWNER/NAME"
    )
    dataset_id: HubId = Field(
        "dasd-training-data", description="hub id that the training sets are to have"
    )
    checkpoint: Literal["final", "best", "low_temperature", "high_temperature", "dasd"] = Field(
        FINAL,
        description="which is released. final: that of the last stage, unless an earlier one is "
        "better by a paired test; best: that with the highest mean over the evaluation sets; or "
        "one by its name, whatever the test says (docs/release.md)",
    )
    base_model: HubId | None = Field(
        None, description="hub id of the base student; unset: base_student.path, if it is one"
    )
    license: str = Field(
        SHIPPED_LICENCE,
        pattern=r"^[a-z0-9][a-z0-9.-]*$",
        description="the hub's id of the licence; look at those of base student, teacher and "
        "questions before you choose",
    )
    license_file: str | None = Field(
        None,
        description="text of the licence (see docs/cli.md, paths of a profile); needed for any but "
        "apache-2.0",
    )
    languages: list[Language] = Field(
        ["en"], min_length=1, description="ISO 639 codes of what is asked and answered"
    )
    authors: list[str] = Field(default_factory=list, description="who made the release")
    links: dict[str, str] = Field(
        {"DASD, the method": "https://arxiv.org/abs/2601.09088"},
        description="name -> URL, shown in the cards",
    )
    notes: str = Field(
        "", description="what else a user must know about limits, as a paragraph of Markdown"
    )
    max_weight_shard_mib: int = Field(
        4_768, ge=1, description="largest file of weights (4,768 MiB: the hub's usual 5 GB)"
    )
    max_data_shard_mib: int = Field(476, ge=1, description="largest Parquet file (500 MB)")
    include_logprobs: bool = Field(
        True,
        description="release the teacher's tokens and logprobs and the sentences' provenance too; "
        "they are most of the bytes",
    )

    @model_validator(mode="after")
    def _has_licence_text(self) -> Release:
        if self.license != SHIPPED_LICENCE and self.license_file is None:
            raise ValueError(
                f"license_file is needed: the project has the text of {SHIPPED_LICENCE} only, not "
                f"of {self.license}"
            )
        return self
