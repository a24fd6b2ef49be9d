"""Teacher responses made of wire text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def teacher_rows(
    tokenizer: Any, wires: Sequence[str], prefix: str = "r", **columns: Any
) -> list[dict[str, Any]]:
    """Rows of TEACHER_RESPONSES, one per wire text; ids are the prefix and a number."""
    rows: list[dict[str, Any]] = []
    for index, wire in enumerate(wires):
        ids = tokenizer.encode(wire, add_special_tokens=False)
        rows.append(
            {
                "response_id": f"{prefix}{index}", "question_id": "q", "domain": "math",
                "question": "What is 1 + 2?", "sample_index": index, "system_prompt": "s",
                "reasoning_effort": "high", "model": "m", "model_revision": "1", "engine": "e",
                "engine_version": "1", "logprobs_mode": "raw_logprobs", "temperature": 1.0,
                "top_p": 1.0, "max_tokens": 99, "seed": 0, "token_ids": ids,
                "finish_reason": "stop" if wire.endswith("<|return|>") else "length",
                "logprobs": -np.ones(len(ids), np.float32), "text": wire,
                **columns,
            }
        )  # fmt: skip
    return rows
