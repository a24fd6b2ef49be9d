"""A cut-off answer in both formats: the same text, whatever the cut meets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dasd_assets.mixed_policy_distillation.prefix import (
    Prefix,
    begun_parts,
    begun_text,
    teacher_prefix,
)
from formats.answer_format import FormatError
from formats.harmony import FINAL_OPEN, HarmonyFormat
from formats.think import ThinkFormat

ANALYSIS = "<|channel|>analysis<|message|>"
FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"


THINK, OPENED, HARMONY = ThinkFormat(), ThinkFormat(opened="<think>\n"), HarmonyFormat()


def wire(prefix: Prefix) -> str:
    return "".join(mark + text for mark, text in prefix.wire)


@pytest.mark.parametrize(
    ("rollout", "student", "wire_text", "part"),
    [
        ("<think>\nWe ad|d", "<think>\nWe ad", f"{ANALYSIS}We ad", "reasoning"),
        ("<think>\nx < |y", "<think>\nx < ", f"{ANALYSIS}x < ", "reasoning"),
        ("<think>We ad|d", "<think>\nWe ad", f"{ANALYSIS}We ad", "reasoning"),
        ("<think>\nWe \n\n|add", "<think>\nWe \n\n", f"{ANALYSIS}We \n\n", "reasoning"),
        # A student that does not think first has begun its answer.
        ("We ad|d", "We ad", "<|channel|>final<|message|>We ad", "answer"),
        # Inside a mark: the opening one is dropped, the closing one made whole.
        ("<thi|nk>\nWe", "<think>\n", ANALYSIS, "reasoning"),
        (" |<think>\nWe", "<think>\n", ANALYSIS, "reasoning"),
        ("<think>\nA.\n</thi|nk>\n\nB", "<think>\nA.\n</think>\n\n", f"{ANALYSIS}A.{FINAL}",
         "answer"),
        ("<think>\nA.\n<|/think>\n\nB", "<think>\nA.\n</think>\n\n", f"{ANALYSIS}A.{FINAL}",
         "answer"),
        # Text that begins like a mark, and is none.
        ("<think>\n<b>x</|b>", "<think>\n<b>x</", f"{ANALYSIS}<b>x</", "reasoning"),
        ("<think>\n</th|ead> A</think>B", "<think>\n</th", f"{ANALYSIS}</th", "reasoning"),
        ("<th|e set>", "<th", "<|channel|>final<|message|><th", "answer"),
        ("<think>\nA.\n</think>|", "<think>\nA.\n</think>\n\n", f"{ANALYSIS}A.{FINAL}",
         "answer"),
        ("<think>\nA.\n</think>\n|\nB", "<think>\nA.\n</think>\n\n", f"{ANALYSIS}A.{FINAL}",
         "answer"),
        (
            "<think>\nA.\n</think>\n\nIt is |3",
            "<think>\nA.\n</think>\n\nIt is ",
            f"{ANALYSIS}A.{FINAL}It is ",
            "answer",
        ),
        (
            "<think>\nA.\n</think>\n\nB </think|> C",
            "<think>\nA.\n</think>\n\nB </think",
            f"{ANALYSIS}A.{FINAL}B </think",
            "answer",
        ),
    ],
)  # fmt: skip
def test_a_cut_anywhere(rollout: str, student: str, wire_text: str, part: str) -> None:
    kept, _, discarded = rollout.partition("|")
    prefix = teacher_prefix(kept, discarded, THINK, HARMONY)
    parts = tuple(text for _, text in prefix.wire)
    begun = begun_parts(prefix.student_text, prefix.cut_part)
    assert tuple(text for text in begun if text is not None and (text or parts[1:])) in (parts, ())
    assert (prefix.student_text, wire(prefix), prefix.cut_part) == (student, wire_text, part)


PIECES = ["<think>", "</think>", "\n", " ", "<", "</", "thi", "nk>", "We add", "ü木", "<|end|>"]


@given(st.lists(st.sampled_from(PIECES), max_size=12), st.integers(0, 60))
def test_teacher_and_training_have_the_same_text_and_it_is_the_students(
    pieces: list[str], position: int
) -> None:
    rollout = "".join(pieces)
    kept, discarded = rollout[:position], rollout[position:]
    prefix = teacher_prefix(kept, discarded, OPENED, HARMONY)
    parts = [text for _, text in prefix.wire]
    if wire(prefix).startswith(FINAL_OPEN):  # without a reasoning there is nothing to finish
        parts.insert(0, "")
    formatted = begun_text(*parts) if parts[1:] else f"<think>\n{parts[0]}"
    assert prefix.student_text == formatted
    assert prefix.cut_part == ("answer" if FINAL_OPEN in wire(prefix) else "reasoning")
    # White space aside, it is what was sampled up to the cut, with marks made whole or left out.
    own, shown = ("".join(text.split()) for text in (rollout, prefix.student_text))
    if wire(prefix).startswith(FINAL_OPEN):  # without a reasoning its marks are not written
        own = own.removeprefix("<think>").removeprefix("</think>")
    elif not rollout.lstrip().startswith("<think>"):
        shown = shown.removeprefix("<think>")
    assert own.startswith(shown) or (
        (kept + discarded).lstrip().startswith("<think>")
        and (len(kept) < rollout.index("<think>") + len("<think>"))
    )
    # What follows the last mark is kept to the character.
    assert kept.endswith(parts[-1])


def test_a_template_that_opens_thinking_in_the_prompt() -> None:
    prefix = teacher_prefix("We ad", "d", OPENED, HARMONY)
    assert (prefix.student_text, wire(prefix)) == ("<think>\nWe ad", f"{ANALYSIS}We ad")
    # The teacher's prompt may open it as well: then it is not opened once more.
    assert wire(teacher_prefix("We ad", "d", OPENED, OPENED)) == "We ad"
    assert wire(teacher_prefix("A.</think>B", "", OPENED, OPENED)) == "A.\n</think>\n\nB"


def test_a_teacher_without_reasoning_has_no_place_for_one() -> None:
    with pytest.raises(FormatError, match="no_place_in_format"):
        teacher_prefix("<think>\nWe ad", "d", THINK, ThinkFormat(name="plain"))
