"""An imported answer taken apart as a sampled one is."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from formats.answer_format import MALFORMED, MISMATCH, AnswerParts, FormatError
from formats.delivered_text import DeliveredTextError, delivered_parts, delivered_tokens
from formats.model_format import ModelFormat


def imported_parts(
    text: str, token_ids: pa.Array | None, writer: ModelFormat | None
) -> AnswerParts:
    """Reasoning and answer from the text; where tokens came along, their places in it.

    Args:
        token_ids: as delivered; None: none came along, and none are placed.
        writer: whose tokenizer the ids are of.

    Raises:
        FormatError: the text cannot be taken apart, or the tokens do not spell it.
    """
    try:
        reasoning, answer = delivered_parts(text)
    except DeliveredTextError as error:
        raise FormatError(MALFORMED, str(error)) from error
    if token_ids is None or writer is None:
        return AnswerParts(reasoning, answer, None, np.empty(0, np.int32))
    ids = token_ids.to_numpy(zero_copy_only=False)
    try:
        starts = delivered_tokens(ids, reasoning, answer, writer.token_bytes).starts
    except DeliveredTextError as error:
        raise FormatError(MISMATCH, str(error)) from error
    return AnswerParts(reasoning, answer, None, starts)
