"""Every rule is kept by a good answer, broken by a bad one, and shows its evidence."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from dasd_assets.profile import ResponseFiltering
from dasd_assets.response_filtering.rules import RULES, Response, broken_rules

SETTINGS = ResponseFiltering(
    max_student_tokens=100,
    min_repeated_words=1,
    max_paragraph_repeats=2,
    max_sentence_repeats=2,
    repeated_ngram_words=3,
    max_ngram_repeats=3,
    max_loop_characters=64,
)
GOOD = Response(
    reasoning="First we add. Then we carry. Now we are done.",
    answer="It is 42.",
    n_student_tokens=100,
    n_tokens=3,
    logprobs=np.array([-0.1, -2.0, 0.0], np.float32),
)

BROKEN = {
    "empty_completion": (replace(GOOD, n_tokens=0, logprobs=np.empty(0, np.float32),
                                 finish_reason="context_exceeded"), "context_exceeded"),
    "hit_max_tokens": (replace(GOOD, finish_reason="length"), "3 tokens"),
    "stopped_by_server": (replace(GOOD, finish_reason="content_filter"), "content_filter"),
    "invalid_logprobs": (replace(GOOD, logprobs=np.array([-1.0, np.nan, 0])), "nan at token 1"),
    "no_reasoning": (replace(GOOD, reasoning=""), "no reasoning"),
    "no_final_answer": (replace(GOOD, answer=""), "no answer"),
    "tool_call": (replace(GOOD, tool_call="functions.calc"), "functions.calc"),
    "too_long": (replace(GOOD, n_student_tokens=101), "101 student tokens"),
    "template_mark_in_text": (replace(GOOD, answer="a</think>b",
                                      template_marks=frozenset({"</think>"})), "</think>"),
    "repeated_paragraph": (replace(GOOD, reasoning="Aha\n\nAha\n\nAha"), "3 x 'Aha'"),
    "repeated_sentence": (replace(GOOD, reasoning="So it is. " * 3), "3 x 'So it is.'"),
    "repeated_ngram": (replace(GOOD, reasoning="a b c d, " * 4), "4 x 'a b c'"),
    "repeated_characters": (replace(GOOD, reasoning="ha" * 33), "33 x 'ha'"),
}  # fmt: skip


def test_a_good_answer_breaks_no_rule() -> None:
    assert broken_rules(GOOD, SETTINGS) == []


def test_every_rule_is_tested() -> None:
    assert set(BROKEN) == set(RULES)


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_named_with_its_evidence(rule: str) -> None:
    response, evidence = BROKEN[rule]
    found = {broken["rule"]: broken["evidence"] for broken in broken_rules(response, SETTINGS)}
    assert evidence in found[rule]


@pytest.mark.parametrize(
    ("logprobs", "evidence"),
    [
        ([], "0 logprobs for 3 tokens"),
        ([-1.0, -1.0], "2 logprobs for 3 tokens"),
        ([-1.0, -1.0, np.nan], "nan at token 2"),
        ([-1.0, -np.inf, -1.0], "-inf at token 1"),
        ([-1.0, -1.0, 0.5], "0.5 at token 2"),
    ],
)
def test_no_logprob_is_ever_made_up(logprobs: list[float], evidence: str) -> None:
    response = replace(GOOD, logprobs=np.array(logprobs, np.float32))
    (broken,) = broken_rules(response, SETTINGS)
    assert broken == {"rule": "invalid_logprobs", "evidence": evidence}


@pytest.mark.parametrize("reason", ["tool_calls", "content_filter"])
def test_an_answer_that_the_server_ended_is_rejected(reason: str) -> None:
    (broken,) = broken_rules(replace(GOOD, finish_reason=reason), SETTINGS)
    assert broken == {"rule": "stopped_by_server", "evidence": f"finish_reason {reason}"}


def test_all_broken_rules_are_reported() -> None:
    response = replace(GOOD, answer="", finish_reason="length", reasoning="Again. " * 12)
    assert [broken["rule"] for broken in broken_rules(response, SETTINGS)] == [
        "hit_max_tokens", "no_final_answer", "repeated_sentence", "repeated_ngram",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "kept", "broken"),
    [
        ("too_long", {"n_student_tokens": 100}, {"n_student_tokens": 101}),
        ("repeated_paragraph", {"reasoning": "Aha\n\nAha"}, {"reasoning": "Aha\n \n\nAha\n\n Aha"}),
        ("repeated_sentence", {"reasoning": "So. So. No."}, {"reasoning": "So. No.\nSo.\nSo."}),
        ("repeated_sentence", {"reasoning": "对。对。错。"}, {"reasoning": "对。对。错。对。"}),
        ("repeated_ngram", {"reasoning": "a b c " * 3}, {"reasoning": "a b c " * 4}),
        ("invalid_logprobs", {"logprobs": None}, {"logprobs": np.full(3, 0.001, np.float32)}),
    ],
)
def test_the_limit_itself_is_kept(
    rule: str, kept: dict[str, object], broken: dict[str, object]
) -> None:
    assert broken_rules(replace(GOOD, **kept), SETTINGS) == []
    found = broken_rules(replace(GOOD, **broken), SETTINGS)
    assert rule in [each["rule"] for each in found]


def test_one_very_long_word_does_not_multiply_the_memory() -> None:
    words = [f"w{i}" for i in range(2_000)]
    digits = "".join(map(str, np.random.default_rng(0).integers(0, 10, 100_000)))
    response = replace(GOOD, reasoning=" ".join([*words, digits]))
    tracemalloc.start()
    assert broken_rules(response, SETTINGS) == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000
