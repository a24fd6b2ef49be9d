"""An engine that answers with given texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from support.stub_engine import StubEngine

from resources.engines.protocol import Completion, FinishReason, GenerationRequest, Prompt


class Writes(StubEngine):
    """Answers with texts in turn, one token a character; decodes what it has written."""

    def __init__(self, *texts: str, reason: FinishReason = "stop", context: int = 9_999) -> None:
        super().__init__(context)
        self.rendered: list[list[dict[str, str]]] = []
        self.opens = ""
        self._texts = texts
        self._reason: FinishReason = reason

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
