"""How a model writes, as a profile names it: known without what reads and renders its answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class FormatSettings(BaseModel):
    """How a model writes its reasoning and its answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["auto", "harmony", "think", "split", "plain"] = Field(
        "auto",
        description="auto: found from the chat template; harmony: channels (gpt-oss); think: two "
        "marks of text; split: a server that returns reasoning and content as two fields; plain: "
        "no reasoning",
    )
    marks: tuple[str, str] | None = Field(
        None,
        description="marks of think, with the white space that goes with them; unset: those of the "
        "chat template, else `<think>` and `</think>`",
    )
    template_settings: dict[str, str | bool | int | None] = Field(
        default_factory=dict,
        description="variables of the chat template that are set in every stage, for example "
        "`enable_thinking: true`",
    )


AUTO = FormatSettings()
