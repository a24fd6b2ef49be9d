"""How one model writes, found from its tokenizer; tokens placed in the canonical text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scripted_engine import tokenizer
from support.small_tokenizer import TEMPLATE, build_tokenizer
from support.tokenizer_kinds import KINDS

from formats.answer_format import FormatError
from formats.encoding import check_reversible, encode_all, encode_texts
from formats.model_format import (
    FormatSettings,
    ModelFormat,
    UnknownFormatError,
    find_format,
    model_format,
    preset_template,
    student_format,
    without_preset,
)
from formats.student_text import part_spans, student_text
from formats.token_bytes import TokenizerError

STUDENTS = {
    "harmony": lambda: tokenizer("teacher"),
    "think": lambda: tokenizer("student"),
    **KINDS,
}

# No mark, and no half of one.
PART = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<|>\u2581"), max_size=40)
    .map(str.strip)
    .filter(bool)
)


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDENTS)
def test_tokens_of_both_parts_are_placed_and_the_format_is_not(name: str) -> None:
    student = student_format(STUDENTS[name]())

    @settings(deadline=None, max_examples=60)
    @given(reasoning=PART | st.just(""), answer=PART)
    def holds(reasoning: str, answer: str) -> None:
        ids = np.asarray(student.encode(reasoning, answer), np.int32)
        starts = student.token_starts(ids, reasoning, answer)
        assert starts[-1] == -1
        text, spans = student_text(reasoning, answer).encode(), part_spans(reasoning, answer)
        placed = starts[starts >= 0]
        assert (np.diff(placed) >= 0).all()
        for token, start in zip(ids[starts >= 0], placed, strict=True):
            assert any(begin <= start < end for begin, end in spans)
            content = student.token_bytes.written(np.array([token])).strip(b" \t\n\r\x0b\x0c")
            if content and student.token_bytes.normalised(text.decode()).text.encode() == text:
                assert content[:1] in (text[start : start + 1], b"<", b">")
        # The same places as for an answer that the model sampled.
        parts = student.format.parse(ids, student.token_bytes)
        written = student.written_text(reasoning, answer).encode()
        if student.token_bytes.written(ids[:-1]) == written:
            assert (parts.reasoning, parts.answer) == (reasoning, answer)
            assert parts.token_starts.tolist() == starts.tolist()

    holds()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_text_that_follows_another_has_no_space_before_it(kind: str) -> None:
    tokenizer = KINDS[kind]()
    check_reversible(tokenizer)
    table = student_format(tokenizer).token_bytes

    @settings(deadline=None, max_examples=60)
    @given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581\x1d")))
    def holds(text: str) -> None:
        (ids,) = encode_texts(tokenizer, [text])
        spelled = table.written(np.asarray(ids, np.int32))
        assert spelled == table.normalised(text).text.encode()

    holds()


def test_byte_level_bpe_labelled_as_llama_is_refused(tmp_path: Any) -> None:
    from transformers import AutoTokenizer

    build_tokenizer().save_pretrained(tmp_path)
    settings_file = tmp_path / "tokenizer_config.json"
    content = settings_file.read_text().replace(
        build_tokenizer().__class__.__name__, "LlamaTokenizerFast"
    )
    settings_file.write_text(content)
    labelled = AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(TokenizerError, match=r"changes text.*tokenizer_class"):
        check_reversible(labelled)


def test_bytes_without_a_token_cost_only_texts_that_have_them() -> None:
    # The 21 that SmolLM2's vocabulary lacks; 13 of them are in no UTF-8 text.
    absent = bytes([0x04, 0x06, 0x13, 0x14, 0x16, 0x1D, 0xC0, 0xC1, 0xF1, 0xF2, *range(0xF5, 256)])
    lacking = build_tokenizer(absent)
    assert len(absent) == len(build_tokenizer()) - len(lacking) == 21
    check_reversible(lacking)
    student = student_format(lacking)
    spelled, unspelled = ("2 + 3 = 5 \u2014 na\u00efve", "5"), ("2 +\x04 3", "5")
    first, error, last = student.n_tokens([spelled, unspelled, ("", "5")])
    assert (first, last) == (len(student.encode(*spelled)), len(student.encode("", "5")))
    assert isinstance(error, FormatError) and error.rule == "token_text_mismatch"


@pytest.mark.parametrize(
    ("template", "opened"),
    [
        (TEMPLATE, ""),
        (TEMPLATE.replace("assistant\n", "assistant\n<think>"), "<think>"),
        (TEMPLATE.replace("assistant\n", "assistant\n<think>\n"), "<think>\n"),
        (
            TEMPLATE.replace("assistant\n", "assistant\n<think>\n\n</think>\n\n"),
            "<think>\n\n</think>\n\n",
        ),
    ],
)
def test_the_format_is_found_from_the_template(template: str, opened: str) -> None:
    own = build_tokenizer()
    own.chat_template = template
    if opened:
        found = find_format(own)
        assert (found.name, found.opened) == ("think", opened)  # type: ignore[attr-defined]
    else:
        with pytest.raises(UnknownFormatError, match=r"renders .*im_start.* looked for.*Name it"):
            find_format(own)
        assert student_format(own).format.name == "think"


def test_a_named_format_and_marks() -> None:
    own = build_tokenizer()
    named = model_format(own, FormatSettings(name="think", marks=("[THINK]", "[/THINK]")))
    assert named.written_text("A.", "B.") == "[THINK]A.[/THINK]B."
    assert model_format(own, FormatSettings(name="plain")).written_text("", "B.") == "B."
    with pytest.raises(UnknownFormatError, match=r"name is harmony.*no token <\|start\|>"):
        model_format(own, FormatSettings(name="harmony"))
    assert model_format(tokenizer("teacher")).format.name == "harmony"


def test_variables_of_a_template_are_set_for_good() -> None:
    own = build_tokenizer()
    own.chat_template = TEMPLATE.replace(
        "assistant\n", "assistant\n{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    )
    plain = own.chat_template
    closed = student_format(own)
    with pytest.raises(FormatError, match="no_place_in_format"):
        closed.written_text("A.", "B.")
    for _ in range(2):  # a checkpoint that was saved with it is preset once more
        preset_template(own, {"enable_thinking": True})
    opened = student_format(own)
    assert opened.written_text("A.", "B.") == "<think>\nA.\n</think>\n\nB."
    assert without_preset(own.chat_template) == plain


def test_masked_bytes_become_leading_tokens() -> None:
    student = ModelFormat(tokenizer("teacher"), find_format(tokenizer("teacher")))
    text = student_text("Ones: 1.", "It is 1.")
    ids = np.asarray(student.encode("Ones: 1.", "It is 1.")[:-1], np.int32)
    whole = student.token_bytes.written(ids)
    for kept in ("", "<think>\nOnes:", "<think>\nOnes: 1.\n</think>\n\nIt is"):
        n = student.n_tokens_within(ids, text, len(kept.encode()))
        shown = student.token_bytes.written(ids[:n])
        assert whole.startswith(shown)
        assert student.n_written_bytes(text, len(kept.encode())) >= len(shown)
    assert student.n_tokens_within(ids, text, 0) == 0


def test_one_by_one_and_all_at_once_are_the_same() -> None:
    own = tokenizer("student")
    texts = ["<think>\nA.\n</think>\n\nB.", "数学", ""]
    assert encode_all(own, texts) == [own.encode(t, add_special_tokens=False) for t in texts]
