"""A rollout that is not what the student sampled is not continued, and says why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.scripted_engine import encode, written

from dasd_assets.mixed_policy_distillation.usable import unusable, whole_characters
from resources.engines.protocol import Completion

TEXT = encode("student", "<think>\nWe add 木")
STOP = encode("student", "<|im_end|>")
LOGPROBS = np.full(len(TEXT), -1.0, np.float32)


def rules(token_ids: list[int], reason: Any = "length", logprobs: Any = None) -> dict[str, str]:
    found = np.full(len(token_ids), -1.0, np.float32) if logprobs is None else logprobs
    completion = Completion("k", np.asarray(token_ids, np.int32), found, reason)
    broken = unusable(completion, written("student"))
    return {each["rule"]: each["evidence"] for each in broken}


def test_what_the_student_sampled_can_be_used() -> None:
    assert rules(TEXT) == {}
    assert rules(TEXT[:-1]) == {}  # half a character, torn by the cap
    assert rules(TEXT + STOP, "stop") == {}
    assert rules(STOP, "stop") == {}


@pytest.mark.parametrize(
    ("token_ids", "reason", "logprobs", "found"),
    [
        ([], "length", None, {"empty_completion": "finish_reason length"}),
        (TEXT, "length", LOGPROBS[1:],
         {"invalid_logprobs": f"{len(TEXT) - 1} logprobs for {len(TEXT)} tokens"}),
        (TEXT, "length", np.where(np.arange(len(TEXT)) == 2, np.nan, LOGPROBS),
         {"invalid_logprobs": "nan at token 2"}),
        (TEXT, "content_filter", None, {"stopped_by_server": "finish_reason content_filter"}),
        (TEXT[:2] + STOP + TEXT[2:], "length", None, {"no_text": f"special token {STOP[0]} at 2"}),
        ([*TEXT, 90_000], "length", None,
         {"no_text": f"token 90000 at {len(TEXT)}, unknown to the tokenizer"}),
    ],
)  # fmt: skip
def test_every_reason_is_given(
    token_ids: list[int], reason: str, logprobs: Any, found: dict[str, str]
) -> None:
    assert rules(token_ids, reason, logprobs) == found


def test_a_prompt_beyond_the_context_and_broken_characters() -> None:
    token_bytes = written("student")
    (broken,) = unusable(None, token_bytes)
    assert broken == {"rule": "empty_completion", "evidence": "finish_reason context_exceeded"}
    half = encode("student", "木")[:1]
    assert "no UTF-8 at byte" in rules([*half, *TEXT])["no_text"]


def test_whole_characters() -> None:
    encoded = "a木🙂".encode()
    texts = [whole_characters(encoded[:n]) for n in range(len(encoded) + 1)]
    assert texts == ["", *["a"] * 3, *["a木"] * 4, "a木🙂"]
    with pytest.raises(UnicodeDecodeError):
        whole_characters(b"a\xffb")
