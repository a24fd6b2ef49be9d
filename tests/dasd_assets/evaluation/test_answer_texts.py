"""A sampled answer's tokens and the teacher's, placed in the same text."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scripted_engine import encode, tokenizer

from dasd_assets.answering.teacher_tokens import NoAnswerTextError, teacher_tokens
from dasd_assets.evaluation.answer_texts import (
    answer_text,
    prompt_opens_thinking,
)
from formats.student_text import student_text
from formats.token_bytes import TokenBytes

STUDENT, TEACHER = (TokenBytes(tokenizer(name)) for name in ("student", "teacher"))
SPACES = st.sampled_from(["", " ", "\n", "\n\n", " \n"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<>|"), max_size=40)


def sampled(text: str) -> np.ndarray:
    return np.asarray(encode("student", text), np.int32)


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
            answer_text(token_ids, False, STUDENT)
        return
    found = answer_text(token_ids, False, STUDENT)
    spelled = STUDENT.decode(token_ids).decode()  # the tokenizer normalises
    assert found.reasoning == spelled.partition("</think>")[0].split("<think>")[1].strip()
    assert found.answer == spelled.partition("</think>")[2].strip()
    canonical = student_text(found.reasoning, found.answer)
    assert_in_place(canonical, token_ids, found.token_starts, STUDENT)
    ids, starts = teacher_tokens(
        found.reasoning, found.answer, found.wire, tokenizer("teacher"), TEACHER
    )
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
    found = answer_text(token_ids, False, STUDENT)
    assert (found.reasoning, found.answer) == ("So 2 + 2 = 🙂", "")
    assert found.token_starts[-1] == -1
    assert found.wire == (("<|channel|>analysis<|message|>", "So 2 + 2 = 🙂"),)


def test_an_answer_that_ended_without_any_mark_is_all_answer_unless_the_prompt_has_one() -> None:
    stop = np.int32(tokenizer("student").eos_token_id)
    token_ids = np.append(sampled("It is 4."), stop)
    found = answer_text(token_ids, True, STUDENT)
    assert (found.reasoning, found.answer) == ("", "It is 4.")
    canonical = student_text("", "It is 4.")
    ids, starts = teacher_tokens(
        found.reasoning, found.answer, found.wire, tokenizer("teacher"), TEACHER
    )
    for one, places in ((token_ids, found.token_starts), (ids, starts)):
        token_bytes = STUDENT if one is token_ids else TEACHER
        assert_in_place(canonical, one, places, token_bytes)
        assert (places >= canonical.index("It")).any()
    assert tokenizer("teacher").decode(ids) == "<|channel|>final<|message|>It is 4."
    begun = answer_text(token_ids, True, STUDENT, is_thinking=True)
    assert (begun.reasoning, begun.answer) == ("It is 4.", "")
    assert answer_text(token_ids[:-1], False, STUDENT).reasoning == "It is 4."
    assert not prompt_opens_thinking(tokenizer("student"))


def test_the_stop_token_has_no_place_and_any_other_special_token_is_refused() -> None:
    stop = tokenizer("student").eos_token_id
    token_ids = np.append(sampled("<think>\nSo.\n</think>\n\n4."), np.int32(stop))
    assert answer_text(token_ids, True, STUDENT).token_starts[-1] == -1
    with pytest.raises(NoAnswerTextError, match=f"special token {stop}"):
        answer_text(token_ids, False, STUDENT)


def test_an_answer_whose_only_token_begins_before_its_text_is_refused() -> None:
    """Nothing could be said of its sentence, and the partition would end with an error."""
    own = copy.deepcopy(tokenizer("student"))
    own.add_tokens(["\u3000Yes"])  # white space to Python, and no byte of it to a token
    token_ids = np.asarray([own.convert_tokens_to_ids("\u3000Yes")], np.int32)
    with pytest.raises(NoAnswerTextError, match="no token begins in the text"):
        answer_text(token_ids, False, TokenBytes(own))


def test_the_teacher_reads_marks_in_the_text_as_text() -> None:
    found = answer_text(sampled("<think>\nI say <|end|> here.\n</think>\n\n4."), False, STUDENT)
    ids, _ = teacher_tokens(
        found.reasoning, found.answer, found.wire, tokenizer("teacher"), TEACHER
    )
    end = tokenizer("teacher").convert_tokens_to_ids("<|end|>")
    assert ids.tolist().count(end) == 1  # that between the channels
