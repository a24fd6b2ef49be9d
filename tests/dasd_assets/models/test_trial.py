"""A model tried on one question: what would be rejected later is refused now, with what to set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.scripted_engine import Answer, ScriptedEngine, encode

from dasd_assets.models.trial import ATTEMPTS, Asking, try_student, try_teacher
from resources.engines.model_folder import ModelFolderError
from resources.engines.openai_requests import UnsupportedRequestError
from resources.engines.protocol import (
    Completion,
    FinishReason,
    GenerationRequest,
    ScoringRequest,
    TokenScores,
)

ASKING = Asking("Be brief.", "high", 0.6, 1.0, 320, 0, has_reasoning=True, continues=True)
ANALYSIS, FINAL = "<|channel|>analysis<|message|>", "<|channel|>final<|message|>"
GOOD = f"{ANALYSIS}Two and two.<|end|><|start|>assistant{FINAL}It is 4.<|return|>"


def saying(*wires: str, reason: FinishReason = "stop") -> Callable[[GenerationRequest], Answer]:
    """Answers with one text after the other, and goes on with what was begun by one token."""
    texts = iter(wires)

    def answer(request: GenerationRequest) -> Answer:
        if request.prefix_token_ids:
            return encode("teacher", " it")[: request.max_tokens], "length"
        return encode("teacher", next(texts)), reason

    return answer


def test_a_good_teacher_is_asked_once_and_goes_on_with_half_of_it() -> None:
    engine = ScriptedEngine("teacher", saying(GOOD))
    found = try_teacher(engine, ASKING)
    first, more = engine.requests
    assert (first.max_tokens, first.temperature, more.max_tokens) == (320, 0.6, 1)
    assert first.prompt.messages == (("system", "Be brief."), ("user", "What is 2 + 2?"))
    assert 0 < len(more.prefix_token_ids) < len(encode("teacher", GOOD))
    assert (found.text.split(",")[1:], found.answer) == (
        [" with raw_logprobs", " one per token", " and goes on with a given text"], GOOD
    )  # fmt: skip
    engine = ScriptedEngine("teacher", saying(GOOD))
    try_teacher(engine, replace(ASKING, continues=False, max_tokens=65_536))
    assert [request.max_tokens for request in engine.requests] == [1_024]  # few tokens are bought


def test_one_answer_may_be_malformed_by_chance() -> None:
    engine = ScriptedEngine("teacher", saying("no channel", GOOD))
    try_teacher(engine, replace(ASKING, continues=False))
    assert len({request.seed for request in engine.requests}) == 2


@pytest.mark.parametrize(
    ("wire", "reason", "changed", "told"),
    [
        ("<think>\nTwo.\n</think>\n\nIt is 4.", "stop", {}, "read as harmony: malformed_answer"),
        (f"{FINAL}It is 4.<|return|>", "stop", {}, "no reasoning, which response_filtering"),
        (f"{ANALYSIS}Two and two.<|return|>", "stop", {}, "no final answer"),
        ("", "length", {}, "it has no tokens"),
        (GOOD, "tool_calls", {}, "the server ended it with tool_calls"),
        (GOOD, "stop", {"max_tokens": 10**6}, "not even a short question would be answered"),
    ],
)
def test_what_every_answer_would_fail_with(
    wire: str, reason: FinishReason, changed: dict[str, Any], told: str
) -> None:
    engine = ScriptedEngine("teacher", saying(*[wire] * ATTEMPTS, reason=reason))
    with pytest.raises(ModelFolderError) as raised:
        try_teacher(engine, replace(ASKING, **changed))
    assert told in str(raised.value)
    if not changed:
        assert f"Answered was {wire!r}" in str(raised.value)
        assert "Name its format" in str(raised.value)


def test_an_answer_that_was_cut_is_examined_as_far_as_it_went() -> None:
    cut = f"{ANALYSIS}First of all I"
    engine = ScriptedEngine("teacher", saying(cut, reason="length"))
    assert "the end of an answer was not seen" in try_teacher(engine, ASKING).text
    engine = ScriptedEngine("teacher", saying(*[f"{FINAL}It is"] * ATTEMPTS, reason="length"))
    with pytest.raises(ModelFolderError, match="no reasoning"):
        try_teacher(engine, ASKING)


class _Changed(ScriptedEngine):
    """Gives other logprobs, or refuses a prefix."""

    def __init__(self, logprobs: Callable[[int], np.ndarray] | None, **scripted: Any) -> None:
        super().__init__("teacher", saying(GOOD), **scripted)
        self._logprobs = logprobs

    def generate(
        self, requests: Sequence[GenerationRequest], on_progress: Any = None
    ) -> Iterator[Completion]:
        if requests[0].prefix_token_ids and not self._logprobs:
            raise UnsupportedRequestError("the chat endpoint cannot continue a given text")
        for one in super().generate(requests):
            n = len(one.token_ids)
            yield replace(one, logprobs=self._logprobs(n)) if self._logprobs else one


@pytest.mark.parametrize(
    ("logprobs", "told"),
    [
        (lambda n: np.empty(0, np.float32), "0 logprobs for "),
        (lambda n: np.full(n - 1, -0.5, np.float32), " logprobs for "),
        (lambda n: np.full(n, np.nan, np.float32), "nan at token 0"),
        (lambda n: np.full(n, 0.3, np.float32), "0.30"),
    ],
)
def test_without_a_logprob_for_each_token_nothing_more_is_asked(
    logprobs: Callable[[int], np.ndarray], told: str
) -> None:
    engine = _Changed(logprobs)
    with pytest.raises(ModelFolderError) as raised:
        try_teacher(engine, ASKING)
    assert told in str(raised.value)
    assert "--logprobs-mode raw_logprobs" in str(raised.value)
    assert len(engine.requests) == 1


def test_a_teacher_that_cannot_finish_what_a_student_began() -> None:
    with pytest.raises(ModelFolderError, match="mixed_policy_distillation: off"):
        try_teacher(_Changed(None), ASKING)


@pytest.mark.parametrize(
    ("logprob", "rank", "told"), [(-0.5, 1, ""), (np.nan, 1, "nan at token 0"), (-0.5, 0, "rank 0")]
)
def test_a_student_scores_an_answer(logprob: float, rank: int, told: str) -> None:
    class Scoring(ScriptedEngine):
        def score(self, requests: Sequence[ScoringRequest]) -> Iterator[TokenScores]:
            for each in requests:
                n = len(each.token_ids)
                values = np.full(n, logprob, np.float32), np.full(n, rank, np.int32)
                yield TokenScores(each.key, *values)

    engine = Scoring("student", saying())
    if not told:
        found = try_student(engine, "Be brief.", has_reasoning=True)  # type: ignore[arg-type]
        assert "of probability 0.61 in the mean" in found.text
        return
    with pytest.raises(ModelFolderError, match=told):
        try_student(engine, "Be brief.", has_reasoning=True)  # type: ignore[arg-type]
