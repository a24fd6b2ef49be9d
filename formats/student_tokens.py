"""How a question becomes the student's prompt: in training, scoring, filtering."""

from __future__ import annotations

from typing import Any

from formats.chat import chat, chat_text, prompt_tokens


def prompt_text(tokenizer: Any, question: str, system_prompt: str) -> str:
    """The prompt by the student's chat template, as in sampling and evaluation."""
    return chat_text(tokenizer, chat(system_prompt, question))


def encode_prompt(tokenizer: Any, question: str, system_prompt: str) -> list[int]:
    """Tokens of `prompt_text`."""
    return prompt_tokens(tokenizer, chat(system_prompt, question))
