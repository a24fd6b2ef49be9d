"""An engine that answers with given texts."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from support.stub_engine import StubEngine

from formats.think import ThinkFormat
from formats.token_bytes import TokenBytes
from resources.engines.protocol import Completion, FinishReason, GenerationRequest, Prompt


class CharacterBytes(TokenBytes):
    """One token a character, its code point the id."""

    size = sys.maxunicode + 1
    is_special = np.zeros(sys.maxunicode + 1, np.bool_)
    n_written_bytes = n_bytes = 1 + np.searchsorted(
        [0x80, 0x800, 0x10000], np.arange(sys.maxunicode + 1), side="right"
    ).astype(np.int32)
    first_nonspace = np.zeros(sys.maxunicode + 1, np.int32)

    def __init__(self) -> None:
        """There is no vocabulary to read."""

    def written(self, token_ids: npt.NDArray[np.int32]) -> bytes:
        return "".join(map(chr, token_ids)).encode()


@dataclass(frozen=True)
class CharacterFormat:
    """What `ModelFormat` is to a model, for `Writes`."""

    format: ThinkFormat
    token_bytes: TokenBytes = field(default_factory=CharacterBytes)


class Writes(StubEngine):
    """Answers with texts in turn, one token a character; decodes what it has written."""

    def __init__(self, *texts: str, reason: FinishReason = "stop", context: int = 9_999) -> None:
        super().__init__(context)
        self.rendered: list[list[dict[str, str]]] = []
        self.opens = ""
        self._texts = texts
        self._reason: FinishReason = reason

    @property
    def format(self) -> Any:
        """Marks of thinking, which the prompt may have opened."""
        return CharacterFormat(ThinkFormat(opened=self.opens))

    def render(self, messages: list[dict[str, str]], **template_settings: Any) -> Prompt:
        self.rendered.append(messages)
        return Prompt(tuple(map(ord, f"{messages[-1]['content']}{self.opens}")))

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        return "".join(map(chr, token_ids))

    def generate(
        self, requests: Sequence[GenerationRequest], on_progress: Any = None
    ) -> Iterator[Completion]:
        for request in requests:
            self.asked.append(request.key(self.identity))
            text = self._texts[request.seed % len(self._texts)]
            yield Completion(
                request.key(self.identity), np.array(list(map(ord, text)), np.int32),
                np.zeros(len(text), np.float32), self._reason,
            )  # fmt: skip
