"""How a question becomes the student's prompt: in training, scoring, filtering."""

from __future__ import annotations

from typing import Any

from formats.chat import chat, prompt_tokens


def encode_prompt(tokenizer: Any, question: str, system_prompt: str) -> list[int]:
    """Tokens of a question by the student's chat template, as in sampling and evaluation."""
    return prompt_tokens(tokenizer, chat(system_prompt, question))
