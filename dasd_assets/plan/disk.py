"""Bytes on disk: of rows before compression, and of checkpoints."""

from __future__ import annotations

import pyarrow as pa

from dasd_assets.models.training_memory import (
    MASTER_BYTES,
    MOMENT_BYTES,
    PARAMETER_BYTES,
    trained_parameters,
)
from dasd_assets.profile import ModelShape
from resources.lake.table import GAINED
from resources.lake.tables import TABLES
from training.settings import Training

CHARACTERS_PER_TOKEN = 4.0
TEXTS = frozenset({"text", "sentence", "response_text", "reasoning", "prefix_text"})
"""Columns as long as an answer; `reasoning` stands for `answer` too, which is the rest of it."""

TOP_BYTES = 4 + 4
"""Of one of the likeliest tokens of a position: int32 and float32."""

TOKEN_BYTES = 4
"""Of a token's id in a packed training set."""
TOKEN_LISTS = (pa.list_(pa.int32()), pa.list_(pa.float32()))


def row_bytes(table: str, prompt_tokens: float, answer_tokens: float) -> float:
    """Bytes of a row before compression, so that the file is hardly larger.

    A token has four bytes in each list of the table and about as many characters in each text;
    other columns count four bytes.
    """
    total = 0.0
    for field in TABLES[table].schema:
        if field.name in GAINED:  # null, but in conversations
            continue
        if field.type in TOKEN_LISTS:
            total += 4 * answer_tokens
        elif field.name in TEXTS:
            total += CHARACTERS_PER_TOKEN * answer_tokens
        elif field.name == "question":
            total += CHARACTERS_PER_TOKEN * prompt_tokens
        else:
            total += 4
    return total


def top_bytes(k: int, answer_tokens: float) -> float:
    """Bytes of the k likeliest tokens at each position, before compression: id and logprob."""
    return k * TOP_BYTES * answer_tokens


def checkpoint_bytes(shape: ModelShape, training: Training) -> float:
    """The weights of a finished checkpoint, and with LoRA the adapter beside them, float32."""
    adapter = trained_parameters(shape, training) * MASTER_BYTES if training.lora else 0.0
    return shape.parameters * PARAMETER_BYTES[training.dtype] + adapter


def restart_point_bytes(shape: ModelShape, training: Training) -> float:
    """What one restart point has: masters, moments, and what DeepSpeed writes of its own weights.

    That is the whole model, and under ZeRO-2 the engine's copy of it once more. With LoRA it is
    the adapters alone.
    """
    copies = {0: 0, 2: 2, 3: 1}[training.deepspeed_zero_stage]
    unit = MASTER_BYTES + MOMENT_BYTES + copies * PARAMETER_BYTES[training.dtype]
    return trained_parameters(shape, training) * unit


def restart_bytes(shape: ModelShape, training: Training) -> float:
    """Restart points of the stage that is being trained, with the one that is being written."""
    is_on = training.restart.every_steps or training.restart.every_minutes
    return restart_point_bytes(shape, training) * (training.restart.keep + 1) if is_on else 0.0
