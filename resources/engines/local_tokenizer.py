"""What engines share whose tokenizer is local, wherever the model itself runs."""

from __future__ import annotations

from typing import Any

from resources.engines.prompts import context_problem, render_chat
from resources.engines.protocol import GenerationRequest, ModelIdentity, Prompt


class LocalTokenizerEngine:
    """The part of `InferenceEngine` that needs no weights; an engine sets the three attributes."""

    _identity: ModelIdentity
    _tokenizer: Any
    _context: int

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
        return render_chat(self._tokenizer, messages, template_settings)

    def check(self, request: GenerationRequest) -> str | None:
        """Why a request cannot be answered, or None."""
        return context_problem(request, self._context, self._identity.model)
