"""Answers of every shape: read, refused as malformed, or a word that is not known."""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.training_rows import STUDENT
from transformers import AutoTokenizer

from dasd_assets.answering.earlier import has_logprobs
from formats.model_format import ModelFormat, student_format
from formats.think import ThinkFormat
from resources.engines.openai_answers import (
    AnswerReader,
    UnknownFinishReasonError,
    finish_reason,
    only_choice,
)
from resources.engines.openai_bodies import MalformedAnswerError, parse_json
from resources.engines.openai_pauses import retry_after_seconds
from resources.engines.openai_probe import alternatives
from resources.engines.openai_scores import scores_of
from resources.engines.protocol import Completion, ScoringRequest

TOKENIZER: Any = AutoTokenizer.from_pretrained(STUDENT.parent / "teacher")
VOCABULARY = len(TOKENIZER)
READER, WRITTEN = AnswerReader(TOKENIZER, VOCABULARY), student_format(TOKENIZER)
IDS = TOKENIZER.encode("It is 5.", add_special_tokens=False)
NAMES = [TOKENIZER.decode([index]) for index in IDS]
HUGE = int("9" * 400)
DEEP: Any = json.loads("[" * 900 + "]" * 900)
PROMPT = [3, 4, 5]

COMPLETION = {
    "index": 0, "finish_reason": "stop", "text": "It is 5.", "token_ids": IDS,
    "prompt_token_ids": PROMPT,
    "logprobs": {"tokens": NAMES, "token_logprobs": [-0.5] * len(IDS)},
}  # fmt: skip
CHAT = {
    "finish_reason": "stop",
    "message": {"role": "assistant", "content": "It is 5.", "reasoning": None},
    "logprobs": {"content": [
        {"token": name, "bytes": list(name.encode()), "logprob": -0.5, "top_logprobs": []}
        for name in NAMES
    ]},
}  # fmt: skip
SCORED = [None, {"4": {"logprob": -1.0, "rank": 2}}, {"5": {"logprob": -0.5, "rank": 1}}]


def without_ids(**changes: Any) -> dict[str, Any]:
    return {k: v for k, v in COMPLETION.items() if k != "token_ids"} | changes


def test_whole_answers_are_read() -> None:
    for choice in (COMPLETION, without_ids(), CHAT):
        emitted = READER.read(choice, 20, WRITTEN, PROMPT)
        assert emitted.token_ids.tolist() == IDS
        assert emitted.logprobs.tolist() == [-0.5] * len(IDS)
    scores = scores_of(SCORED, ScoringRequest("a", (3, 4), (5,)))
    assert (scores.logprobs.tolist(), scores.ranks.tolist()) == ([-0.5], [1])


def message(**parts: Any) -> dict[str, Any]:
    return {"finish_reason": "stop", "message": {"content": "x", **parts}}


MALFORMED: dict[str, tuple[dict[str, Any], str]] = {
    "ids beyond the vocabulary": (COMPLETION | {"token_ids": [VOCABULARY]}, "beyond the vocab"),
    "a negative id": (COMPLETION | {"token_ids": [-1]}, "beyond the vocabulary"),
    "an id of 400 digits": (COMPLETION | {"token_ids": [HUGE]}, "beyond the vocabulary"),
    "true as an id": (COMPLETION | {"token_ids": [True]}, "no whole numbers"),
    "a dict of ids": (COMPLETION | {"token_ids": {"1": 2}}, "no whole numbers"),
    "more tokens than asked": (COMPLETION | {"token_ids": IDS * 9}, "20 were asked for"),
    "more names than asked": (
        without_ids(text="5" * 30, logprobs={"tokens": ["5"] * 30, "token_logprobs": []}),
        "20 were asked for",
    ),
    "more logprobs than names": (
        without_ids(logprobs={"tokens": NAMES, "token_logprobs": [-1.0] * 12}), "12 logprobs for",
    ),
    "more logprobs than tokens": (
        COMPLETION | {"logprobs": {"tokens": [], "token_logprobs": [-1.0] * 12}},
        "12 logprobs for",
    ),
    "a text no 20 tokens can spell": (without_ids(text="x y " * 9_000), "longer than 20 tokens"),
    "another prompt": (COMPLETION | {"prompt_token_ids": [3, 4]}, "answers another prompt"),
    "a list as text": (without_ids(text=["It"]), "a list where text is due"),
    "a dict as text": (without_ids(text={"a": 1}), "a dict where text is due"),
    "a number as text": (without_ids(text=HUGE), "a int where text is due"),
    "no text": (without_ids(text=None), "a NoneType where text is due"),
    "half a character": (without_ids(text="\ud800"), "UnicodeEncodeError"),
    "a list as content": (message(content=[{"type": "text", "text": "x"}]), "a list where text"),
    "a dict as reasoning": (message(reasoning={"a": "b"}), "a dict where text is due"),
    "deep reasoning": (message(reasoning_content=DEEP), "a list where text is due"),
    "a list as message": (CHAT | {"message": ["x"]}, "a list where a message is due"),
    "a dict of calls": (message(tool_calls={"a": 1}), "tool_calls that are no list"),
    "a call that is text": (message(tool_calls=["add"]), "without function"),
    "arguments as a dict": (
        message(tool_calls=[{"function": {"name": "add", "arguments": {}}}]), "a dict where text",
    ),
    "a number as a name": (without_ids(logprobs={"tokens": [7]}), "a int where text is due"),
    "a number as bytes": (
        CHAT | {"logprobs": {"content": [{"token": "x", "bytes": 10**9}]}}, "that are no list",
    ),
    "bytes that are none": (
        CHAT | {"logprobs": {"content": [{"token": "x", "bytes": [300]}]}}, "ValueError",
    ),
    "a dict of logprobs": (
        without_ids(logprobs={"tokens": [], "token_logprobs": {"a": 1}}), "that are no list",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_answer_is_no_answer(case: str) -> None:
    choice, said = MALFORMED[case]
    with pytest.raises(MalformedAnswerError, match=said):
        READER.read(choice, 20, WRITTEN, PROMPT)


@pytest.mark.parametrize("value", [HUGE, -HUGE, 1e300, float("inf"), True, "x", [], {}])
def test_a_logprob_that_is_none_is_missing(value: Any) -> None:
    listed = {"tokens": NAMES, "token_logprobs": [value] * len(IDS)}
    emitted = READER.read(COMPLETION | {"logprobs": listed}, 20, WRITTEN, PROMPT)
    assert np.isnan(emitted.logprobs).all()


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ({}, "no list of logprobs for 3"),
        ([None], "1 logprobs for 3"),
        ([None, None, {"6": {"logprob": -1.0}}], "of other tokens than the given 5"),
        ([None, None, {"5": -1.0}], "of other tokens"),
        ([None, None, [1]], "of other tokens"),
        ([None, None, {"5": {"rank": HUGE}}], "a rank"),
        ([None, None, {"5": {"rank": "1"}}], "a rank"),
    ],
)
def test_scores_of_another_layout_or_other_tokens(listed: Any, said: str) -> None:
    with pytest.raises(MalformedAnswerError, match=said):
        scores_of(listed, ScoringRequest("a", (3, 4), (5,)))


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "stop"), ("eos", "stop"), ("eos_token", "stop"), ("STOP", "stop"),
        ("end_turn", "stop"), ("stop_sequence", "stop"), ("length", "length"),
        ("MAX_TOKENS", "length"), ("max_tokens", "length"), ("model_length", "length"),
        ("tool_use", "tool_calls"), ("SAFETY", "content_filter"),
    ],
)  # fmt: skip
def test_other_words_for_the_end(word: str, reason: str) -> None:
    choice = only_choice({"choices": [{"finish_reason": word}]})
    assert finish_reason(choice) == reason


def test_an_unknown_word_is_settled_at_once_and_an_abort_is_asked_again() -> None:
    with pytest.raises(UnknownFinishReasonError, match="finish_reason 'halt', which is none of st"):
        only_choice({"choices": [{"finish_reason": "halt"}]})
    for word in (None, "", "abort", "Cancelled", "error", ["stop"], {}, HUGE, DEEP):
        with pytest.raises(MalformedAnswerError, match="it ended with finish_reason"):
            only_choice({"choices": [{"finish_reason": word}]})


@pytest.mark.parametrize(
    "header",
    ["Fri, 31 Dec 10000 23:59:59 GMT", "Fri, 99 Foo", "-1", "1e9", "\x00", "٣x"],
)  # fmt: skip
def test_a_pause_that_is_none(header: str) -> None:
    assert retry_after_seconds(header, 0.0) in (None, 0.0)
    assert retry_after_seconds("9" * 400, 0.0) == float("inf")


# Whatever a server sends

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(HUGE), st.floats(), st.text(max_size=8),
    st.sampled_from(["stop", "\ud800", "bytes:\\xff", "token_id:" + "9" * 30, "<|channel|>"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS | st.just(DEEP),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
FUZZ = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in nested JSON, the root aside."""
    found = []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        found.append((*path, key))
        if isinstance(inner, dict | list):
            found += places(inner, (*path, key))
    return found


@st.composite
def damaged(draw: st.DrawFn, whole: Any) -> Any:
    """A good answer with one to three of its parts replaced by anything."""
    answer = copy.deepcopy(whole)
    changed = draw(st.lists(st.sampled_from(places(whole)), min_size=1, max_size=3, unique=True))
    for path in sorted(changed, key=len, reverse=True):  # the inner ones first: all are there
        inside = answer
        for key in path[:-1]:
            inside = inside[key]
        inside[path[-1]] = draw(VALUES)
    return answer


def outcome(answer: Any) -> None:
    """An answer is read with tokens of the model, or refused by the two errors there are."""
    try:
        choice = only_choice(answer)
        emitted = READER.read(choice, 20, WRITTEN, PROMPT)
        assert finish_reason(choice) in ("stop", "length", "tool_calls", "content_filter")
        assert ((emitted.token_ids >= 0) & (emitted.token_ids < VOCABULARY)).all()
        assert len(emitted.logprobs) <= len(emitted.token_ids)
        assert not (emitted.logprobs > 1e30).any()
    except (MalformedAnswerError, UnknownFinishReasonError):
        pass


@FUZZ
@given(answer=st.sampled_from([COMPLETION, without_ids(), CHAT]).flatmap(
    lambda choice: damaged({"model": "m", "choices": [choice], "usage": {"prompt_tokens": 3}})
))  # fmt: skip
def test_fuzz_damaged_answers(answer: Any) -> None:
    outcome(answer)


@FUZZ
@given(answer=VALUES)
def test_fuzz_any_json(answer: Any) -> None:
    outcome(answer)
    for read in (
        lambda: alternatives({"logprobs": answer}),
        lambda: scores_of([None, None, answer], ScoringRequest("a", (3, 4), (5,))),
        lambda: scores_of(answer, ScoringRequest("a", (3, 4), (5,))),
    ):
        with contextlib.suppress(MalformedAnswerError):
            read()


@FUZZ
@given(body=st.binary(max_size=60) | st.text('[]{}",:0919.e-', max_size=60).map(str.encode))
def test_fuzz_bytes(body: bytes) -> None:
    with contextlib.suppress(MalformedAnswerError):
        outcome(parse_json(body))


@FUZZ
@given(header=st.text(max_size=40) | st.dates().map(lambda day: f"Fri, {day:%d %b %Y} 25:61:61"))
def test_fuzz_retry_after(header: str) -> None:
    seconds = retry_after_seconds(header, 0.0)
    assert seconds is None or seconds >= 0


SPLIT = ModelFormat(TOKENIZER, ThinkFormat(name="split"))


def listed(text: str) -> dict[str, Any]:
    names = [TOKENIZER.decode([i]) for i in TOKENIZER.encode(text, add_special_tokens=False)]
    entries = [
        {"token": name, "bytes": list(name.encode()), "logprob": -0.5, "top_logprobs": []}
        for name in names
    ]
    return {
        "finish_reason": "stop",
        "message": {"content": "It is 4.", "reasoning_content": "2 + 2"},
        "logprobs": {"content": entries},
    }


def test_two_fields_with_logprobs_of_both_are_what_the_model_wrote() -> None:
    text = "<think>\n2 + 2\n</think>\n\nIt is 4."
    emitted = READER.read(listed(text), 60, SPLIT)
    assert TOKENIZER.decode(emitted.token_ids) == text
    assert emitted.logprobs.tolist() == [-0.5] * len(emitted.token_ids)


def test_two_fields_with_logprobs_of_the_content_only_lack_those_of_the_reasoning() -> None:
    emitted = READER.read(listed("It is 4."), 60, SPLIT)
    assert TOKENIZER.decode(emitted.token_ids) == "<think>\n2 + 2\n</think>\n\nIt is 4."
    n_known = len(TOKENIZER.encode("It is 4.", add_special_tokens=False))
    assert np.isnan(emitted.logprobs[:-n_known]).all()
    assert emitted.logprobs[-n_known:].tolist() == [-0.5] * n_known
    assert has_logprobs(Completion("key", emitted.token_ids, emitted.logprobs, "stop"))


def test_two_fields_with_logprobs_of_something_else_have_none() -> None:
    emitted = READER.read(listed("It is 5."), 60, SPLIT)
    assert TOKENIZER.decode(emitted.token_ids) == "<think>\n2 + 2\n</think>\n\nIt is 4."
    assert len(emitted.logprobs) == 0
