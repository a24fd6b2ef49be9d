"""How one model writes: its tokenizer and its format, in every stage the same.

The format is found from the tokenizer and its chat template, or named in the profile.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from formats.answer_format import MISMATCH, AnswerFormat, FormatError, Span, place_tokens
from formats.chat import chat, chat_text
from formats.encoding import encode_texts, token_bytes_of
from formats.harmony import MARKS as HARMONY_MARKS
from formats.harmony import HarmonyFormat
from formats.student_text import TEMPLATE, THINK_CLOSE, THINK_OPEN, part_spans, response_parts
from formats.think import KNOWN_MARKS, ThinkFormat, opened_by
from formats.token_bytes import TokenBytes, TokenizerError


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
ENCODED_AT_ONCE = 2_000_000
"""Characters of texts that are encoded together: they fill all cores, and their tokens' records
take some 100 MB."""


class UnknownFormatError(ValueError):
    """A model whose format was not found; the message says what was looked for and what to set."""


def preset_template(tokenizer: Any, settings: Mapping[str, Any]) -> None:
    """Set variables of a tokenizer's chat template for good: a checkpoint is saved with them."""
    if not settings:
        return
    values = {None: "none", True: "true", False: "false"}
    preset = "".join(
        f"{{%- set {name} = "
        f"{values[value] if isinstance(value, bool | None) else json.dumps(value)} -%}}"
        for name, value in settings.items()
    )
    if not tokenizer.chat_template.startswith(preset):
        tokenizer.chat_template = preset + tokenizer.chat_template


def without_preset(chat_template: str) -> str:
    """A chat template as it was before `preset_template`."""
    return re.sub(r"\A(\{%- set \w+ = [^%]* -%\})+", "", chat_template)


def find_format(tokenizer: Any, settings: FormatSettings = AUTO) -> AnswerFormat:
    """The format of a model's answers.

    Args:
        tokenizer: its chat template has been preset (`preset_template`).

    Raises:
        UnknownFormatError: it is not named, and neither Harmony's tokens nor marks of thinking
            were found.
    """
    added = {token.content for token in tokenizer.added_tokens_decoder.values()}
    kind = settings.name
    missing = [mark for mark in HARMONY_MARKS if mark not in added]
    if kind == "harmony" and missing:
        raise UnknownFormatError(
            f"{tokenizer.name_or_path}: format.name is harmony, but the tokenizer has no token "
            f"{', '.join(missing)}"
        )
    if kind == "harmony" or (kind == "auto" and not missing):
        return HarmonyFormat()
    template = tokenizer.chat_template or ""
    known = next((pair for pair in KNOWN_MARKS if any(m.strip() in template for m in pair)), None)
    if kind == "auto" and not (known or settings.marks):
        prompt = chat_text(tokenizer, chat("Be brief.", "What is 2 + 3?"))
        looked_for = ", ".join(mark.strip() for pair in KNOWN_MARKS for mark in pair)
        raise UnknownFormatError(
            f"{tokenizer.name_or_path}: the format of its answers was not found. Its chat template "
            f"renders {prompt!r}; looked for: Harmony's tokens ({', '.join(HARMONY_MARKS)}) and "
            f"marks of thinking in the template ({looked_for}). Name it: format.name is harmony, "
            "think (with format.marks, if they are others), split or plain"
        )
    open_mark, close_mark = settings.marks or known or (THINK_OPEN, THINK_CLOSE)
    prompt = chat_text(tokenizer, chat("", ""))
    opened = opened_by(prompt, (open_mark.strip(), close_mark.strip()))
    name: Literal["think", "split", "plain"] = "think" if kind == "auto" else kind
    return ThinkFormat(open_mark, close_mark, opened, name)


def student_format(tokenizer: Any, settings: FormatSettings = AUTO) -> ModelFormat:
    """The format of a student; one that has none yet is taught to think with `<think>`."""
    try:
        return ModelFormat(tokenizer, find_format(tokenizer, settings))
    except UnknownFormatError:
        if settings.name != "auto":
            raise
        return ModelFormat(tokenizer, ThinkFormat())


def model_format(tokenizer: Any, settings: FormatSettings = AUTO) -> ModelFormat:
    """The format of a model that is to be read, as `find_format` finds it."""
    return ModelFormat(tokenizer, find_format(tokenizer, settings))


@dataclass(frozen=True)
class ModelFormat:
    """A tokenizer and the format of what it encodes.

    Texts of responses are canonical (`formats.student_text`); what the model is trained on, scored
    on or shown is the same response in its own format, behind what its generation prompt opened.
    """

    tokenizer: Any
    format: AnswerFormat

    @property
    def token_bytes(self) -> TokenBytes:
        """Byte tables of the tokenizer."""
        return token_bytes_of(self.tokenizer)

    @cached_property
    def forbidden(self) -> frozenset[str]:
        """Texts that must not stand in a response: marks of thinking and special tokens."""
        return frozenset(
            {
                *self.format.marks, THINK_OPEN.strip(), THINK_CLOSE.strip(),
                *self.tokenizer.all_special_tokens,
            }
        )  # fmt: skip

    def written_text(self, reasoning: str, answer: str) -> str:
        """A response as the model writes it, without the end token.

        Raises:
            FormatError: `no_place_in_format`.
        """
        return "".join(mark + text for mark, text in self.format.pieces(reasoning, answer))

    def encode_all(self, responses: Sequence[tuple[str, str]]) -> list[list[int]]:
        """Tokens of (reasoning, answer) pairs at once, without the end token."""
        return encode_texts(self.tokenizer, [self.written_text(*each) for each in responses])

    def encode(self, reasoning: str, answer: str) -> list[int]:
        """Tokens of a response, the end token included."""
        return [*self.encode_all([(reasoning, answer)])[0], self.tokenizer.eos_token_id]

    def n_tokens(self, responses: Sequence[tuple[str, str]]) -> list[int | FormatError]:
        """Tokens of each (reasoning, answer), the end token included.

        In its place stands the error of a response that has no tokens: `no_place_in_format`, or
        `token_text_mismatch` where they do not spell it.
        """
        found: list[int | FormatError] = []
        for few in _few_at_once(responses):
            texts = [self._text_or_error(*each) for each in few]
            written = [text for text in texts if isinstance(text, str)]
            encoded = iter(encode_texts(self.tokenizer, written))
            found += [
                self._count_or_error(text, next(encoded)) if isinstance(text, str) else text
                for text in texts
            ]
        return found

    def _text_or_error(self, reasoning: str, answer: str) -> str | FormatError:
        try:
            return self.written_text(reasoning, answer)
        except FormatError as error:
            return error

    def _count_or_error(self, written: str, encoded: list[int]) -> int | FormatError:
        try:
            self._check_spelled(np.asarray(encoded, np.int32), written)
        except FormatError as error:
            return error
        return len(encoded) + 1

    def token_starts(
        self, token_ids: npt.NDArray[np.int32], reasoning: str, answer: str
    ) -> npt.NDArray[np.int32]:
        """Where the first non-space byte of each token of `encode` lies in the canonical text.

        Args:
            token_ids: (n,) int32, the end token included.

        Returns:
            int32 (n,); -1 for tokens of the template, the end token included.

        Raises:
            FormatError: `token_text_mismatch`: the tokens do not spell the response, so that none
                can be placed in it.
        """
        written = self.written_text(reasoning, answer)
        original = self._check_spelled(token_ids[:-1], written)
        starts = np.full(len(token_ids), TEMPLATE, np.int32)
        starts[:-1] = place_tokens(
            token_ids[:-1], self.token_bytes, written.encode(), self._spans(reasoning, answer),
            original,
        )  # fmt: skip
        return starts

    def _check_spelled(
        self, token_ids: npt.NDArray[np.int32], written: str
    ) -> npt.NDArray[np.int64] | None:
        """Whether tokens, without the end token, spell a text.

        Returns:
            For each byte that they spell the byte of the text that it comes from; None: they are
            the same.

        Raises:
            FormatError: `token_text_mismatch`.
        """
        spelled = self.token_bytes.written(token_ids)
        if spelled == written.encode():
            return None
        try:
            normalised = self.token_bytes.normalised(written)
        except TokenizerError as error:
            raise FormatError(MISMATCH, str(error)) from error
        if spelled != normalised.text.encode():
            raise FormatError(
                MISMATCH,
                f"under the student's tokenizer ({self.tokenizer.name_or_path}) the response of "
                f"{len(written.encode())} bytes becomes {len(spelled)} others, so that no token "
                "can be placed in it",
            )
        return normalised.original_starts

    def n_written_bytes(self, response_text: str, n_bytes: int) -> int:
        """Bytes of what the model writes that the first bytes of a canonical text become."""
        n_written = 0
        for span in self._spans(*response_parts(response_text)):
            if n_bytes >= span.place:
                n_written = span.begin + min(n_bytes - span.place, span.end - span.begin)
        return n_written

    def n_tokens_within(
        self, token_ids: npt.NDArray[np.int32], response_text: str, n_bytes: int
    ) -> int:
        """Leading tokens within the first bytes of a canonical text; one across the end is not.

        Args:
            token_ids: (n,) int32, the response without its end token.
        """
        n_written = self.n_written_bytes(response_text, n_bytes)
        written = self.written_text(*response_parts(response_text))
        original = self.token_bytes.normalised(written).original_starts
        ends = np.cumsum(self.token_bytes.n_written_bytes[token_ids], dtype=np.int64)
        return int(np.searchsorted(ends, np.searchsorted(original, n_written), side="right"))

    def _spans(self, reasoning: str, answer: str) -> list[Span]:
        """Where both parts lie in the written text."""
        places = part_spans(reasoning, answer)
        pieces = self.format.pieces(reasoning, answer)
        spans, offset = [], 0
        # An answer without a reasoning may be the only piece.
        for (mark, text), (place, _) in zip(pieces, places[-len(pieces) :], strict=True):
            offset += len(mark.encode())
            spans.append(Span(offset, offset + len(text.encode()), place))
            offset = spans[-1].end
        return spans


def _few_at_once(responses: Sequence[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Consecutive responses of together not many more characters than ENCODED_AT_ONCE."""
    few: list[tuple[str, str]] = []
    n_characters = 0
    for response in responses:
        few.append(response)
        n_characters += sum(map(len, response))
        if n_characters >= ENCODED_AT_ONCE:
            yield few
            few, n_characters = [], 0
    if few:
        yield few
