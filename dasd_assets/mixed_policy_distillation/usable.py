"""Which rollouts the teacher can continue; of the others every reason is kept with its evidence."""

from __future__ import annotations

import numpy as np

from dasd_assets.answering.requests import CONTEXT_EXCEEDED
from dasd_assets.profile import ResponseFiltering
from dasd_assets.response_filtering.rules import (
    Response,
    empty_completion,
    invalid_logprobs,
    stopped_by_server,
)
from formats.answer_format import whole_characters
from formats.model_format import ModelFormat
from resources.engines.protocol import Completion

_NO_SETTINGS = ResponseFiltering(max_student_tokens=1)
"""The rules that a rollout shares with the teacher's answers look at no setting."""


def unusable(completion: Completion | None, student: ModelFormat) -> list[dict[str, str]]:
    """Why a rollout's text is not what the student sampled, as `broken_rules`; empty if it is.

    Args:
        completion: None where the prompt is beyond the student's context.
        student: how the student writes.
    """
    if completion is None:
        return [{"rule": "empty_completion", "evidence": f"finish_reason {CONTEXT_EXCEEDED}"}]
    response = Response(
        reasoning="",
        answer="",
        n_student_tokens=0,
        finish_reason=completion.finish_reason,
        n_tokens=len(completion.token_ids),
        logprobs=completion.logprobs,
    )
    ended = completion.finish_reason == "stop"
    token_ids = completion.token_ids[:-1] if ended else completion.token_ids
    found = {
        "empty_completion": empty_completion(response, _NO_SETTINGS),
        "stopped_by_server": stopped_by_server(response, _NO_SETTINGS),
        "invalid_logprobs": invalid_logprobs(response, _NO_SETTINGS),
        "no_text": no_text(token_ids, student),
    }
    return [{"rule": rule, "evidence": evidence} for rule, evidence in found.items() if evidence]


def no_text(token_ids: np.ndarray, student: ModelFormat) -> str | None:
    """Why tokens stand for no text, or for none that could be written down; None if they do.

    The marks of the student's format may be special tokens; others stand for no text.
    """
    token_bytes = student.token_bytes
    unknown = np.flatnonzero((token_ids < 0) | (token_ids >= token_bytes.size))
    if len(unknown):
        return f"token {token_ids[unknown[0]]} at {unknown[0]}, unknown to the tokenizer"
    for place in np.flatnonzero(token_bytes.is_special[token_ids]).tolist():
        if token_bytes.written(token_ids[place : place + 1]).decode() not in student.format.marks:
            return f"special token {token_ids[place]} at {place}"
    try:
        whole_characters(token_bytes.written(token_ids))
    except UnicodeDecodeError as error:
        return f"no UTF-8 at byte {error.start}"
    return None
