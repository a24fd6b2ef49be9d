"""An imported answer taken apart as a sampled one is."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from formats.delivered_text import DeliveredTextError, delivered_parts, delivered_tokens
from formats.harmony import HarmonyAnswer, HarmonyError
from formats.token_bytes import TokenBytes


def imported_parts(
    text: str, token_ids: pa.Array | None, token_bytes: TokenBytes | None
) -> HarmonyAnswer:
    """Reasoning and answer from the text; where tokens came along, their places in it.

    Args:
        token_ids: as delivered; None: none came along, and none are placed.
        token_bytes: of the writer's tokenizer; needed for token ids.

    Raises:
        HarmonyError: the text cannot be taken apart, or the tokens do not spell it.
    """
    try:
        reasoning, answer = delivered_parts(text)
    except DeliveredTextError as error:
        raise HarmonyError("malformed_text", str(error)) from error
    if token_ids is None or token_bytes is None:
        return HarmonyAnswer(reasoning, answer, None, np.empty(0, np.int32))
    ids = token_ids.to_numpy(zero_copy_only=False)
    try:
        starts = delivered_tokens(ids, reasoning, answer, token_bytes).starts
    except DeliveredTextError as error:
        raise HarmonyError("token_text_mismatch", str(error)) from error
    return HarmonyAnswer(reasoning, answer, None, starts)
