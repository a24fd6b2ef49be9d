"""Whether models can be asked, read and trained in their formats, told before anything is spent.

Everything is tried on one example, with the tokenizer alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from jinja2 import TemplateError

from formats.answer_format import FormatError
from formats.chat import chat, has_system_role
from formats.encoding import check_reversible, encode_texts
from formats.model_format import (
    FormatSettings,
    ModelFormat,
    UnknownFormatError,
    model_format,
    student_format,
)
from formats.student_tokens import encode_prompt
from formats.token_bytes import TokenizerError
from resources.engines.end_tokens import check_trainable, check_turn_end
from resources.engines.model_folder import ModelFolderError

REASONING, ANSWER = "The sum of 2 and 2:\n\n1. I count on.", "It is \\boxed{4}."
SYSTEM_PROMPT, QUESTION = "Answer the question.", "What is 2 + 2?"


def check_teacher(tokenizer: Any, settings: FormatSettings, *, has_reasoning: bool) -> ModelFormat:
    """A teacher's format, after an example answer was taken apart again.

    Args:
        tokenizer: its chat template is preset.
        has_reasoning: whether the rules ask an answer for a reasoning.

    Raises:
        ModelFolderError: the format is not recognised, or does not give the example back; the
            tokenizer loses text; the rules ask for what the format does not have; its template ends
            a turn with a token that ends no answer.
    """
    with _rendering(tokenizer, "teacher"):
        check_turn_end(tokenizer)
        try:
            teacher = model_format(tokenizer, settings)
        except (UnknownFormatError, TokenizerError) as error:
            raise ModelFolderError(f"{error}. Nothing was asked") from error
        return _tried("teacher", teacher, has_reasoning)


def check_student(tokenizer: Any, settings: FormatSettings, *, has_reasoning: bool) -> ModelFormat:
    """A student's format, as `check_teacher`; one that has none yet is taught to think.

    Raises:
        ModelFolderError: as `check_teacher`; or it could not be trained, or not be saved.
    """
    with _rendering(tokenizer, "base_student"):
        check_trainable(tokenizer)
        try:
            student = student_format(tokenizer, settings)
        except (UnknownFormatError, TokenizerError) as error:
            raise ModelFolderError(str(error)) from error
        return _tried("base_student", student, has_reasoning)


@contextmanager
def _rendering(tokenizer: Any, key: str) -> Iterator[None]:
    """A chat template that refuses what every question is, told as what is wrong with the model."""
    try:
        yield
    except TemplateError as error:
        raise ModelFolderError(
            f"{tokenizer.name_or_path}: its chat template does not render a question behind a "
            f"system prompt: {error}. Set the variables that it wants in "
            f"{key}.format.template_settings, or use the template of an instruction-tuned model"
        ) from error


def system_prompt_place(tokenizer: Any) -> str:
    """Where the system prompt stands in what a model reads."""
    if has_system_role(tokenizer):
        return "in the template's system role"
    return "before the first question: the chat template has no system role; nothing has to be set"


def _tried(key: str, model: ModelFormat, has_reasoning: bool) -> ModelFormat:
    name = model.tokenizer.name_or_path
    reasoning = REASONING if has_reasoning else ""
    try:
        check_reversible(model.tokenizer)
        encode_prompt(model.tokenizer, QUESTION, SYSTEM_PROMPT)
        text = model.written_text(reasoning, ANSWER)
        token_ids = np.asarray(encode_texts(model.tokenizer, [text])[0], np.int32)
        parts = model.format.parse(token_ids, model.token_bytes)
        model.token_starts(np.asarray(model.encode(reasoning, ANSWER), np.int32), reasoning, ANSWER)
    except TokenizerError as error:
        raise ModelFolderError(str(error)) from error
    except FormatError as error:
        raise ModelFolderError(
            f"{name}: its format is {model.format.name}, and an example answer has no place in it "
            f"({error}). If the answers are to have no reasoning, set "
            "response_filtering.require_reasoning to false; if the template switches thinking off, "
            f"set {key}.format.template_settings (for example enable_thinking: true)"
        ) from error
    if (parts.reasoning, parts.answer) != (reasoning, ANSWER):
        raise ModelFolderError(
            f"{name}: an example answer in the format {model.format.name}, {text!r}, is read as "
            f"{parts.reasoning!r} and {parts.answer!r}. Name its marks in {key}.format"
        )
    return model


def rendered_example(model: ModelFormat) -> str:
    """An example chat with its answer, as the model reads and writes them."""
    messages = chat(SYSTEM_PROMPT, QUESTION)
    prompt = str(
        model.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    )
    try:
        return prompt + model.written_text(REASONING, ANSWER)
    except FormatError:
        return prompt + model.written_text("", ANSWER)
