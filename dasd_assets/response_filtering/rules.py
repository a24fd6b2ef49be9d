"""The rules a response must keep (paper section 6.3), each a small function.

A rule looks at a response and returns its evidence if the response breaks it, else None. A new
rule is a function and a line in RULES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from dasd_assets.answering.logprobs import logprobs_problem
from dasd_assets.profile import ResponseFiltering
from dasd_assets.response_filtering.repetition import (
    Repeated,
    Words,
    repeated_phrase,
    repeated_span,
    unbroken_loop,
)
from dasd_assets.response_filtering.structure import structural, structural_loop

MAX_EVIDENCE = 120


@dataclass(frozen=True)
class Response:
    """What the rules look at. Missing parts are empty."""

    reasoning: str
    answer: str
    n_student_tokens: int
    """Prompt and response under the student's tokenizer, end token included."""
    finish_reason: str = "stop"
    n_tokens: int = 1
    logprobs: npt.NDArray[np.float32] | None = None
    tool_call: str | None = None
    template_marks: frozenset[str] = frozenset()
    """Texts that the student's template and tokenizer give a meaning of their own."""

    @property
    def text(self) -> str:
        """Reasoning and answer as two paragraphs."""
        return f"{self.reasoning}\n\n{self.answer}"

    @cached_property
    def words(self) -> Words:
        """The text cut into words, once for all rules."""
        return Words(self.text)

    @cached_property
    def structural(self) -> npt.NDArray[np.bool_]:
        """Whether each word lies in a table, a matrix, code or an enumeration."""
        return structural(self.words)


Rule = Callable[[Response, ResponseFiltering], str | None]


def empty_completion(response: Response, settings: ResponseFiltering) -> str | None:
    """Nothing was emitted, for example because the prompt is beyond the context."""
    return None if response.n_tokens else f"finish_reason {response.finish_reason}"


def hit_max_tokens(response: Response, settings: ResponseFiltering) -> str | None:
    """The answer was cut off by max_tokens."""
    return f"{response.n_tokens} tokens" if response.finish_reason == "length" else None


def stopped_by_server(response: Response, settings: ResponseFiltering) -> str | None:
    """A server ended or took apart the answer: a tool call, or its content filter."""
    ended = response.finish_reason in ("tool_calls", "content_filter")
    return f"finish_reason {response.finish_reason}" if ended else None


def invalid_logprobs(response: Response, settings: ResponseFiltering) -> str | None:
    """Logprobs are missing, not one per token, not finite, or above 0. Never filled in."""
    if response.logprobs is None:
        return None
    return logprobs_problem(response.logprobs, response.n_tokens)


def no_reasoning(response: Response, settings: ResponseFiltering) -> str | None:
    """There is no thinking part, and the profile asks for one."""
    return None if response.reasoning or not settings.require_reasoning else "no reasoning"


def no_final_answer(response: Response, settings: ResponseFiltering) -> str | None:
    """There is no final answer."""
    return None if response.answer else "no answer"


def tool_call(response: Response, settings: ResponseFiltering) -> str | None:
    """The answer calls a tool; the student has none."""
    return response.tool_call


def too_long(response: Response, settings: ResponseFiltering) -> str | None:
    """Prompt and response do not fit into the training context. Dropped, never cut."""
    if response.n_student_tokens <= settings.max_student_tokens:
        return None
    return f"{response.n_student_tokens} student tokens"


def template_mark_in_text(response: Response, settings: ResponseFiltering) -> str | None:
    """The text spells a mark of the student's format, which would end a part or the answer."""
    return next((mark for mark in sorted(response.template_marks) if mark in response.text), None)


def repeated_paragraph(response: Response, settings: ResponseFiltering) -> str | None:
    """One paragraph comes again and again; structure (tables, code ...) is not counted."""
    for words in _with_and_without_structure(response):
        found = repeated_span(
            words, words.paragraph_ends(), settings.max_paragraph_repeats,
            settings.min_repeated_words,
        )  # fmt: skip
        if found is None:
            return None
    return _evidence(found)


def repeated_sentence(response: Response, settings: ResponseFiltering) -> str | None:
    """One sentence or line comes again and again; structure is not counted."""
    for words in _with_and_without_structure(response):
        found = repeated_span(
            words, words.sentence_ends(), settings.max_sentence_repeats,
            settings.min_repeated_words,
        )  # fmt: skip
        if found is None:
            return None
    return _evidence(found)


def repeated_ngram(response: Response, settings: ResponseFiltering) -> str | None:
    """One phrase of several words comes again and again; in structure, in the same rows."""
    n_words, most = settings.repeated_ngram_words, settings.max_ngram_repeats
    for words in _with_and_without_structure(response):
        found = repeated_phrase(words, n_words, most)
        if found is None and words is response.words:
            return None
    rows = response.words.only(response.structural)
    return _evidence(found or structural_loop(rows, n_words, most))


def _with_and_without_structure(response: Response) -> Iterator[Words]:
    """All words, and, if something was found in them, those that are not in structure.

    Nearly all answers break no rule: only for the others structure is looked for.
    """
    yield response.words
    yield response.words.only(~response.structural)


def repeated_characters(response: Response, settings: ResponseFiltering) -> str | None:
    """The same few characters follow each other without a space, on and on."""
    return _evidence(unbroken_loop(response.words, settings.max_loop_characters))


RULES: dict[str, Rule] = {
    "empty_completion": empty_completion,
    "hit_max_tokens": hit_max_tokens,
    "stopped_by_server": stopped_by_server,
    "invalid_logprobs": invalid_logprobs,
    "no_reasoning": no_reasoning,
    "no_final_answer": no_final_answer,
    "tool_call": tool_call,
    "too_long": too_long,
    "template_mark_in_text": template_mark_in_text,
    "repeated_paragraph": repeated_paragraph,
    "repeated_sentence": repeated_sentence,
    "repeated_ngram": repeated_ngram,
    "repeated_characters": repeated_characters,
}
"""Rule name, as it stands in `broken_rules`, -> rule."""


def broken_rules(response: Response, settings: ResponseFiltering) -> list[dict[str, str]]:
    """Every rule that a response breaks, with the evidence, in the order of RULES."""
    broken = []
    for name, rule in RULES.items():
        evidence = rule(response, settings)
        if evidence is not None:
            broken.append({"rule": name, "evidence": evidence})
    return broken


def _evidence(repeated: Repeated | None) -> str | None:
    if repeated is None:
        return None
    text = repeated.text
    short = text if len(text) <= MAX_EVIDENCE else text[:MAX_EVIDENCE] + "…"
    return f"{repeated.count} x {short!r}"
