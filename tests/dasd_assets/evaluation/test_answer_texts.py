"""A sampled answer's tokens and the teacher's, placed in the same text."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scripted_engine import encode, tokenizer, written

from dasd_assets.evaluation.answer_texts import (
    AnswerText,
    NoAnswerTextError,
    answer_text,
    teacher_tokens,
)
from formats.model_format import ModelFormat, student_format
from formats.student_text import student_text
from formats.think import ThinkFormat
from formats.token_bytes import TokenBytes

STUDENT, TEACHER = (written(name).token_bytes for name in ("student", "teacher"))
SPACES = st.sampled_from(["", " ", "\n", "\n\n", " \n"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<>|"), max_size=40)


def sampled(text: str) -> np.ndarray:
    return np.asarray(encode("student", text), np.int32)


def read(token_ids: np.ndarray) -> AnswerText:
    return answer_text(token_ids, written("student"), written("teacher").format)


def assert_in_place(
    canonical: str, token_ids: np.ndarray, starts: np.ndarray, token_bytes: TokenBytes
) -> None:
    """Every token that has a place spells the bytes there, its leading white space aside."""
    whole = canonical.encode()
    for index, start in zip(token_ids.tolist(), starts.tolist(), strict=True):
        if start >= 0:
            spelled = token_bytes.decode(np.asarray([index], np.int32))
            spelled = spelled[int(token_bytes.first_nonspace[index]) :]
            assert whole[start : start + len(spelled)].startswith(spelled[:1])
            assert spelled.startswith(whole[start : start + len(spelled)])


@given(SPACES, TEXTS, SPACES, SPACES, TEXTS, SPACES)
def test_tokens_of_both_models_lie_where_they_are_spelled(
    before: str, reasoning: str, inner: str, outer: str, answer: str, behind: str
) -> None:
    text = f"{before}<think>{inner}{reasoning}{inner}</think>{outer}{answer}{behind}"
    token_ids = sampled(text)
    if not reasoning.strip() and not answer.strip():
        with pytest.raises(NoAnswerTextError, match="no text"):
            read(token_ids)
        return
    found = read(token_ids)
    spelled = STUDENT.decode(token_ids).decode()  # the tokenizer normalises
    assert found.reasoning == spelled.partition("</think>")[0].split("<think>")[1].strip()
    assert found.answer == spelled.partition("</think>")[2].strip()
    canonical = student_text(found.reasoning, found.answer)
    assert_in_place(canonical, token_ids, found.token_starts, STUDENT)
    ids, starts = teacher_tokens(found, written("teacher"))
    assert_in_place(canonical, ids, starts, TEACHER)
    # No byte that is not white space is without a token.
    n_placed = sum(
        len(STUDENT.decode(token_ids[[place]]).strip())
        for place in np.flatnonzero(found.token_starts >= 0)
    )
    n_said = len("".join((found.reasoning + found.answer).encode().decode("latin-1").split()))
    assert n_placed <= len((found.reasoning + found.answer).encode())
    assert n_placed >= n_said - len("</think>")  # a token may span the mark


def test_an_answer_that_was_cut_off_is_all_reasoning_and_loses_half_a_character() -> None:
    token_ids = np.append(sampled("<think>\nSo 2 + 2 = 🙂"), sampled("🙃")[:1])
    found = read(token_ids)
    assert (found.reasoning, found.answer) == ("So 2 + 2 = 🙂", "")
    assert found.token_starts[-1] == -1
    assert found.wire == (("<|channel|>analysis<|message|>", "So 2 + 2 = 🙂"),)


def test_an_answer_that_ended_without_any_mark_is_all_answer_unless_the_prompt_has_one() -> None:
    stop = np.int32(tokenizer("student").eos_token_id)
    token_ids = np.append(sampled("It is 4."), stop)
    found = read(token_ids)
    assert (found.reasoning, found.answer) == ("", "It is 4.")
    canonical = student_text("", "It is 4.")
    ids, starts = teacher_tokens(found, written("teacher"))
    for one, places in ((token_ids, found.token_starts), (ids, starts)):
        token_bytes = STUDENT if one is token_ids else TEACHER
        assert_in_place(canonical, one, places, token_bytes)
        assert (places >= canonical.index("It")).any()
    assert tokenizer("teacher").decode(ids) == "<|channel|>final<|message|>It is 4."
    opened = ModelFormat(tokenizer("student"), ThinkFormat(opened="<think>\n"))
    begun = answer_text(token_ids, opened, written("teacher").format)
    assert (begun.reasoning, begun.answer) == ("It is 4.", "")
    assert read(token_ids[:-1]).answer == "It is 4."


def test_the_stop_token_has_no_place_and_any_other_special_token_is_refused() -> None:
    stop = tokenizer("student").eos_token_id
    token_ids = np.append(sampled("<think>\nSo.\n</think>\n\n4."), np.int32(stop))
    assert read(token_ids).token_starts[-1] == -1
    with pytest.raises(NoAnswerTextError, match=r"special token <\|im_end\|> at 3"):
        read(np.insert(token_ids, 3, stop))


def test_an_answer_whose_only_token_begins_before_its_text_is_refused() -> None:
    """Nothing could be said of its sentence, and the partition would end with an error."""
    own = copy.deepcopy(tokenizer("student"))
    own.add_tokens(["</think>\n\nYes"])
    token_ids = np.asarray([own.convert_tokens_to_ids("</think>\n\nYes")], np.int32)
    with pytest.raises(NoAnswerTextError, match="no token begins in the text"):
        answer_text(token_ids, student_format(own), written("teacher").format)


def test_the_teacher_reads_marks_in_the_text_as_text() -> None:
    found = read(sampled("<think>\nI say <|end|> here.\n</think>\n\n4."))
    ids, _ = teacher_tokens(found, written("teacher"))
    end = tokenizer("teacher").convert_tokens_to_ids("<|end|>")
    assert ids.tolist().count(end) == 1  # that between the channels
