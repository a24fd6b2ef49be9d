"""Bytes on disk: of rows before compression, and of checkpoints."""

from __future__ import annotations

import pyarrow as pa

from resources.lake.tables import TABLES
from training.settings import Training

CHARACTERS_PER_TOKEN = 4.0
TEXTS = frozenset({"text", "response_text", "reasoning", "prefix_text"})
"""Columns as long as an answer; `reasoning` stands for `answer` too, which is the rest of it."""

TOKEN_LISTS = (pa.list_(pa.int32()), pa.list_(pa.float32()))

PARAMETER_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
OPTIMISER_BYTES = 12
"""AdamW under mixed precision: float32 weights and two moments of each parameter."""


def row_bytes(table: str, prompt_tokens: float, answer_tokens: float) -> float:
    """Bytes of a row before compression, so that the file is hardly larger.

    A token has four bytes in each list of the table and about as many characters in each text;
    other columns count four bytes.
    """
    total = 0.0
    for field in TABLES[table].schema:
        if field.type in TOKEN_LISTS:
            total += 4 * answer_tokens
        elif field.name in TEXTS:
            total += CHARACTERS_PER_TOKEN * answer_tokens
        elif field.name == "question":
            total += CHARACTERS_PER_TOKEN * prompt_tokens
        else:
            total += 4
    return total


def checkpoint_bytes(parameters: float, training: Training) -> float:
    """The weights of a finished checkpoint."""
    return parameters * PARAMETER_BYTES[training.dtype]


def restart_bytes(parameters: float, training: Training) -> float:
    """Restart points of the stage that is being trained, with the one that is being written."""
    one = parameters * (PARAMETER_BYTES[training.dtype] + OPTIMISER_BYTES)
    is_on = training.restart.every_steps or training.restart.every_minutes
    return one * (training.restart.keep + 1) if is_on else 0.0
