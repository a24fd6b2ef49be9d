"""Reading sampled text: final channel, flaws, summary."""

from __future__ import annotations

import random

import pytest

from tools.tiny_world.measuring import Sample, final_text, flaw, summary
from tools.tiny_world.questions import DRAW

PROBLEM = DRAW["math"](random.Random(0), 1)
ANALYSIS = "<|channel|>analysis<|message|>We add the two numbers."
FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"


@pytest.mark.parametrize(
    ("text", "final"),
    [
        (f"{ANALYSIS}{FINAL}It is 4.<|return|>", "It is 4."),
        (f"{ANALYSIS}{FINAL}It is", "It is"),
        (f"{ANALYSIS}<|return|>", ""),
        ("<think>\nHm.\n</think>\n\nIt is 4.<|im_end|>", "It is 4."),
        ("<think>\nHm. It is 4.", ""),
    ],
)
def test_final_text(text: str, final: str) -> None:
    assert final_text(text) == final


@pytest.mark.parametrize(
    ("text", "is_finished", "name"),
    [
        (f"{ANALYSIS}{FINAL}It is 4.<|return|>", True, None),
        (f"{ANALYSIS}<|return|>", True, "no_final"),
        (f"{ANALYSIS}<|end|><|start|>assistant<|channel|>commentary<|call|>", True, "tool_call"),
        (ANALYSIS + " It goes on and on." * 5, False, "loop"),
        (ANALYSIS, False, "truncated"),
    ],
)
def test_flaw(text: str, is_finished: bool, name: str | None) -> None:
    assert flaw(Sample(PROBLEM, text, 5, is_finished)) == name


def test_summary_counts_right_answers_and_flaws() -> None:
    right = f"{ANALYSIS}{FINAL}\\boxed{{{PROBLEM.reference}}}<|return|>"
    samples = [Sample(PROBLEM, right, 10, True)] * 3 + [Sample(PROBLEM, ANALYSIS, 20, False)]
    result = summary(samples)
    assert result["accuracy"] == 0.75
    assert result["accuracy_per_domain"] == {"math": 0.75}
    assert result["flaw_rates"] == {"truncated": 0.25}
    assert result["answer_tokens"] == {"mean": 12.5, "median": 10, "p95": 20}
