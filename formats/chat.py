"""Chats: the messages that are sent for a question, and the text that a template makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def chat(system_prompt: str, question: str) -> list[dict[str, str]]:
    """The messages that are sent for one question, in every stage."""
    return [
        {"role": "system", "content": system_prompt},
        {"role": "user", "content": question},
    ]


def chat_text(tokenizer: Any, messages: Sequence[dict[str, str]], **template_settings: Any) -> str:
    """A chat by the model's own template, up to where its answer begins."""
    return str(
        tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True, **template_settings
        )
    )
