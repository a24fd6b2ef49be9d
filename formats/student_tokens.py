"""How a question and a response become the student's tokens: in training, scoring, filtering."""

from __future__ import annotations

from typing import Any

from formats.chat import chat, chat_text, prompt_tokens
from formats.student_text import THINK_OPEN


def encode_prompt(tokenizer: Any, question: str, system_prompt: str) -> list[int]:
    """Tokens of a question by the student's chat template, as in sampling and evaluation."""
    return prompt_tokens(tokenizer, chat(system_prompt, question))


def encode_response(tokenizer: Any, response_text: str) -> list[int]:
    """Tokens of a response in the student's format, the end token included.

    Some templates (Qwen3-Thinking) open the thinking part in the prompt; a response never opens
    it twice.
    """
    if opens_thinking(tokenizer):
        response_text = response_text.removeprefix(THINK_OPEN)
    ids = list(tokenizer.encode(response_text, add_special_tokens=False))
    return [*ids, tokenizer.eos_token_id]


def opens_thinking(tokenizer: Any) -> bool:
    """Whether the chat template's generation prompt already opens the thinking part."""
    prompt = chat_text(tokenizer, [{"role": "user", "content": ""}])
    return prompt.endswith(THINK_OPEN)
