"""Settings of answers that a drop brings along (docs/bring-your-own-answers.md)."""

from __future__ import annotations

from pydantic import Field, model_validator

from dasd_assets.profile.section import PartitionName, Temperature
from resources.section import Probability, Section

COLUMN = r"^[^.\[\]]+(\.[^.\[\]]+|\[\d+\])*$"
"""A column of a file, or a path into one."""


class AnswerTokens(Section):
    """Where the tokens of the answers and their logprobs are: a companion, or the same files."""

    files: str | None = Field(
        None,
        description="which data files of the drop hold them, a pattern of their paths; unset: the "
        "rows of the answers themselves",
    )
    id: str | None = Field(
        None, pattern=COLUMN, description="column of the companion that names the answer's row"
    )
    token_ids: str = Field("token_ids", pattern=COLUMN, description="column of the token ids")
    logprobs: str = Field(
        "logprobs",
        pattern=COLUMN,
        description="column of the natural-log probability of each token at temperature 1",
    )

    @model_validator(mode="after")
    def _joined(self) -> AnswerTokens:
        if (self.files is None) != (self.id is None):
            raise ValueError("files and id belong together: a companion is joined by its id")
        return self


class AnswersAt(Section):
    """Which of a drop's answers belong to one temperature."""

    files: str = Field("*", description="which data files of the drop: a pattern of their paths")
    temperature: Temperature | None = Field(
        None, description="what they were sampled with; unset: nobody knows"
    )


class ImportedAnswers(Section):
    """Answers that a drop brings along, in place of asking the teacher."""

    text: str = Field(
        pattern=COLUMN, description="column of the answer: `<think>`, reasoning, `</think>`, answer"
    )
    id: str | None = Field(
        None,
        pattern=COLUMN,
        description="column that names the row, each once in the drop; a companion is joined by it",
    )
    temperatures: dict[PartitionName, AnswersAt] = Field(
        min_length=1,
        description="name in teacher_responses.temperatures -> the answers that belong to it; at "
        "the others the drop has none, and its questions are not asked",
    )
    tokens: AnswerTokens | None = Field(
        None, description="token ids and logprobs; unset: there are none, see teacher_scores"
    )
    model: str | None = Field(
        None,
        description="who wrote them: folder or hub id, of which the tokenizer alone is read; unset "
        "with tokens: the profile's teacher",
    )
    max_p_teacher: Probability = Field(
        0.98,
        description="an answer whose tokens have a geometric mean probability above this is "
        "quarantined: logprobs after temperature or top_p are that high, those of the model "
        "itself hardly ever",
    )

    @model_validator(mode="after")
    def _companion_has_ids(self) -> ImportedAnswers:
        if self.tokens is not None and self.tokens.id is not None and self.id is None:
            raise ValueError("id: a companion (tokens.files) is joined by it, and it is not set")
        return self
