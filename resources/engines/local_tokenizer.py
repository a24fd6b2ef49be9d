"""What engines share whose tokenizer is local, wherever the model itself runs."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from formats.format_settings import AUTO, FormatSettings
from formats.model_format import ModelFormat, preset_template, student_format
from resources.engines.prompts import context_problem, render_chat
from resources.engines.protocol import GenerationRequest, ModelIdentity, Prompt


class LocalTokenizerEngine:
    """The part of `InferenceEngine` that needs no weights; an engine sets the three attributes."""

    _identity: ModelIdentity
    _tokenizer: Any
    _context: int
    _format: FormatSettings = AUTO

    def write_as(self, settings: FormatSettings) -> None:
        """How the model writes, before anything is rendered or asked."""
        self._format = settings
        preset_template(self._tokenizer, settings.template_settings)

    @cached_property
    def format(self) -> ModelFormat:
        """How the model writes its answers."""
        return student_format(self._tokenizer, self._format)

    @property
    def identity(self) -> ModelIdentity:
        """Model, revision and engine, as recorded in every row."""
        return self._identity

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self._tokenizer

    def render(self, messages: list[dict[str, str]], **template_settings: Any) -> Prompt:
        """A chat's prompt by the model's own template."""
        # They are in the template already; a chat server, which renders by itself, is told them.
        settings = {**self._format.template_settings, **template_settings}
        return render_chat(self._tokenizer, messages, settings)

    def decode(self, token_ids: npt.NDArray[np.int32]) -> str:
        """The text of emitted tokens, special tokens included; what is no UTF-8 is replaced.

        Not by the tokenizer: many leave out the space before the first word.
        """
        table = self.format.token_bytes
        known = token_ids[(token_ids >= 0) & (token_ids < table.size)]
        return table.written(known).decode(errors="replace")

    def check(self, request: GenerationRequest) -> str | None:
        """Why a request cannot be answered, or None."""
        return context_problem(request, self._context, self._identity.model)
