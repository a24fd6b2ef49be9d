"""The rules a response must keep (paper section 6.3), each a small function.

A rule looks at a response and returns its evidence if the response breaks it, else None. A new
rule is a function and a line in RULES.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dasd_assets.profile import ResponseFiltering

MAX_EVIDENCE = 120
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])\s*|\n+")
_PARAGRAPH_END = re.compile(r"\n\s*\n")


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
    logprobs = response.logprobs
    if logprobs is None:
        return None
    if len(logprobs) != response.n_tokens:
        return f"{len(logprobs)} logprobs for {response.n_tokens} tokens"
    bad = np.flatnonzero(~np.isfinite(logprobs) | (logprobs > 1e-4))
    return f"{logprobs[bad[0]]} at token {bad[0]}" if len(bad) else None


def no_reasoning(response: Response, settings: ResponseFiltering) -> str | None:
    """There is no thinking part."""
    return None if response.reasoning else "no analysis"


def no_final_answer(response: Response, settings: ResponseFiltering) -> str | None:
    """There is no final answer."""
    return None if response.answer else "no final channel"


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
    """One paragraph comes again and again."""
    return _repeated(_PARAGRAPH_END.split(response.text), settings.max_paragraph_repeats)


def repeated_sentence(response: Response, settings: ResponseFiltering) -> str | None:
    """One sentence comes again and again."""
    return _repeated(_SENTENCE_END.split(response.text), settings.max_sentence_repeats)


def repeated_ngram(response: Response, settings: ResponseFiltering) -> str | None:
    """One phrase of several words comes again and again."""
    words = response.text.split()
    n = settings.repeated_ngram_words
    if len(words) < n:
        return None
    # Not a NumPy array of strings: each would take the memory of the longest word.
    number_of = {word: number for number, word in enumerate(dict.fromkeys(words))}
    ids = np.array([number_of[word] for word in words], np.uint64)
    n_windows = len(words) - n + 1
    hashes = np.zeros(n_windows, np.uint64)
    for offset in range(n):
        window = ids[offset : offset + n_windows]
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + window + np.uint64(1)
    _, first, counts = np.unique(hashes, return_index=True, return_counts=True)
    most = int(counts.argmax())
    if counts[most] <= settings.max_ngram_repeats:
        return None
    start = int(first[most])
    return _evidence(" ".join(words[start : start + n]), int(counts[most]))


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


def _repeated(parts: list[str], most_allowed: int) -> str | None:
    counts = Counter(part.strip() for part in parts if part.strip())
    if not counts:
        return None
    part, count = counts.most_common(1)[0]
    return _evidence(part, count) if count > most_allowed else None


def _evidence(part: str, count: int) -> str:
    short = part if len(part) <= MAX_EVIDENCE else part[:MAX_EVIDENCE] + "…"
    return f"{count} x {short!r}"
