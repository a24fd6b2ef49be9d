"""Settings of question drops and their curation."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from dasd_assets.profile.answers import COLUMN, ImportedAnswers
from resources.section import Section

Turns = Literal["all", "first_user", "until_last_user"]


class MappedField(Section):
    """Where one field of a question comes from: a column, or one value for all rows.

    A bare string in the YAML is a column.
    """

    column: str | None = Field(
        None,
        pattern=COLUMN,
        description="column of the file, or a path into one: `messages[0].content`",
    )
    value: str | int | None = Field(None, description="the same value for every row")
    values: dict[str, str | int | None] | None = Field(
        None,
        description="what the column says -> what it means here; a row that says something else "
        "is quarantined",
    )
    optional: bool = Field(
        False, description="a row in which the column is null or absent is kept, with null"
    )

    @model_validator(mode="before")
    @classmethod
    def _column_alone(cls, setting: Any) -> Any:
        return {"column": setting} if isinstance(setting, str) else setting

    @model_validator(mode="after")
    def _one_origin(self) -> MappedField:
        if ("column" in self.model_fields_set) == ("value" in self.model_fields_set):
            raise ValueError("a field is mapped by either column or value")
        if self.column is None and (self.values is not None or self.optional):
            raise ValueError("values and optional belong to a column")
        return self


class Layout(Section):
    """Which columns of a drop hold what (docs/bring-your-own-questions.md has examples)."""

    files: str = Field("*", description="which data files of a folder: a pattern of their paths")
    question: MappedField = Field(
        description="text of the question, or a list of messages (a conversation)"
    )
    turns: Turns = Field(
        "all",
        description="which messages of a conversation are asked, the last as the question: all "
        "(one that ends with the assistant is quarantined), those until the first user's or until "
        "the last user's",
    )
    system_prompt: MappedField = Field(
        MappedField(value=None),
        description="a row's own system prompt, in place of the profile's; null: it has none",
    )
    domain: MappedField = Field(description="one of the profile's `domains`")
    answer: MappedField = Field(
        description="reference answer; `{value: null}` for questions that have none"
    )
    difficulty: MappedField = Field(MappedField(value=None), description="a whole number")
    source: MappedField = Field(MappedField(value=None), description="where the question is from")
    answers: ImportedAnswers | None = Field(
        None,
        description="answers that the drop brings along: its questions are not asked, see "
        "docs/bring-your-own-answers.md",
    )

    @property
    def domains(self) -> list[str]:
        """Domains that it names; a column may say others."""
        domain = self.domain
        named = [domain.value] if domain.column is None else [*(domain.values or {}).values()]
        return [str(name) for name in named]


class Questions(Section):
    """Curation of question drops (paper section 6.1)."""

    inbox: str = Field(min_length=1, description="folder that question drops are put into")
    layouts: dict[str, Layout] = Field(
        default_factory=dict,
        description="name of a drop without its suffix (`*` stands for anything) -> which of its "
        "columns hold what; the first that fits counts. A drop that none fits has the columns "
        "question, domain, answer and, if it likes, difficulty and source",
    )
    decontamination_ngram_words: int = Field(
        13,
        ge=3,
        description="a question sharing this many consecutive words with an evaluation "
        "question is rejected; a shorter question is compared whole",
    )
    near_duplicate_jaccard: float | None = Field(
        0.8,
        gt=0.0,
        le=1.0,
        description="a question with the same numbers, symbols and single letters as a kept one, "
        "and at least this Jaccard similarity of their word shingles, is rejected; null: keep "
        "near-duplicates",
    )
    near_duplicate_shingle_words: int = Field(
        5,
        ge=1,
        description="words of a shingle; the more, the closer two questions have to be: one "
        "changed word changes this many shingles",
    )
    near_duplicate_permutations: int = Field(
        128,
        ge=16,
        le=1_024,
        description="MinHash permutations; the more, the fewer near-duplicates are missed",
    )
    max_row_bytes: int = Field(
        1_048_576, ge=1_024, description="a longer row of a drop is quarantined, never used"
    )
