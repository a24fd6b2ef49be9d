"""Repetition on arrays against slow loops over words, and texts that honest answers have."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.repetition import RULES, fired, scores
from benchmarks.repetition_texts import labelled_texts
from dasd_assets.profile import ResponseFiltering
from dasd_assets.response_filtering.repetition import (
    Repeated,
    Words,
    repeated_phrase,
    repeated_span,
    unbroken_loop,
)
from dasd_assets.response_filtering.rules import Response, broken_rules

DEFAULTS = ResponseFiltering(max_student_tokens=1_000_000)


def is_alone(character: str) -> bool:
    code = ord(character)
    return code > 0xFFFF or any(
        first <= code <= last
        for first, last in ((0x3001, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
                            (0xF900, 0xFAFF), (0xFF00, 0xFFEF), (0xFFFF, 0xFFFF))
    )  # fmt: skip


def slow_words(text: str) -> list[tuple[str, str]]:
    """Each word with the white space that follows it, character by character."""
    words: list[tuple[str, str]] = []
    for character in text:
        if character.isspace():
            if words:
                words[-1] = words[-1][0], words[-1][1] + character
        elif words and not (words[-1][1] or is_alone(character) or is_alone(words[-1][0][-1])):
            words[-1] = words[-1][0] + character, ""
        else:
            words.append((character, ""))
    return words


def slow_spans(text: str, *, paragraphs: bool) -> Counter[tuple[str, ...]]:
    counts: Counter[tuple[str, ...]] = Counter()
    span: list[str] = []
    words = slow_words(text)
    for index, (word, space) in enumerate(words):
        span.append(word)
        ends = space.count("\n") > 1
        if not paragraphs:
            is_stop = word[-1] in ".!?" and (space or index == len(words) - 1)
            ends = "\n" in space or word[-1] in "。！？" or bool(is_stop)
        if ends:
            counts[tuple(span)] += 1
            span = []
    if span:
        counts[tuple(span)] += 1
    return counts


def slow_phrases(text: str, n_words: int) -> dict[tuple[str, ...], int]:
    words = [word for word, _ in slow_words(text)]
    counts: dict[tuple[str, ...], int] = {}
    free: dict[tuple[str, ...], int] = {}
    for index in range(len(words) - n_words + 1):
        phrase = tuple(words[index : index + n_words])
        if index >= free.get(phrase, 0):
            counts[phrase] = counts.get(phrase, 0) + 1
            free[phrase] = index + n_words
    return counts


def split(text: str) -> tuple[str, ...]:
    return tuple(word for word, _ in slow_words(text))


PIECES = st.sampled_from(
    ["a", "b", "no", "So", ".", "!", "? ", " ", "\n", "\n\n", "\n \n", "\t", "　", "\u2028", "对",
     "错", "。", "！", "é", "🙂", "\U00020000", "3.5", "{}", "\x1f"]
)  # fmt: skip
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=60).map("".join)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_words_are_those_of_a_slow_loop(text: str) -> None:
    words = Words(text)
    found = [text[start:end] for start, end in zip(words.starts, words.ends, strict=True)]
    assert found == [word for word, _ in slow_words(text)]
    assert len(set(words.hashes.tolist())) == len(set(found))


@settings(max_examples=400, deadline=None)
@given(TEXTS, st.integers(1, 3), st.integers(1, 4), st.booleans())
def test_spans_are_counted_as_by_a_slow_loop(
    text: str, most_allowed: int, min_words: int, paragraphs: bool
) -> None:
    words = Words(text)
    ends = words.paragraph_ends() if paragraphs else words.sentence_ends()
    found = repeated_span(words, ends, most_allowed, min_words)
    counts = slow_spans(text, paragraphs=paragraphs)
    expected = {span: n for span, n in counts.items() if len(span) >= min_words}
    most = max(expected.values(), default=0)
    if found is None:
        assert most <= most_allowed
    else:
        assert found.count == most > most_allowed
        assert expected[split(found.text)] == most


@settings(max_examples=400, deadline=None)
@given(TEXTS, st.integers(2, 5), st.integers(1, 3))
def test_phrases_are_counted_as_by_a_slow_loop(text: str, n_words: int, most_allowed: int) -> None:
    found = repeated_phrase(Words(text), n_words, most_allowed)
    counts = slow_phrases(text, n_words)
    most = max(counts.values(), default=0)
    if found is None:
        assert most <= most_allowed
    else:
        assert found.count == most > most_allowed
        assert counts[split(found.text)] == most


@pytest.mark.parametrize("piece", ["a", "ha", "-=-=+", "0123456789abcdefghijklmnopqrstuvwxyzABC"])
@pytest.mark.parametrize("before", ["", "x" * 30 + "yz"])
@pytest.mark.parametrize("after", ["", "q"])
def test_a_loop_without_a_space_is_found_with_its_piece(
    piece: str, before: str, after: str
) -> None:
    found = unbroken_loop(Words(f"Yes. {before}{piece * 300}{after} No."), 200)
    assert found is not None
    # The piece may be met one or a few characters into its period.
    assert found.text in piece * 2 and len(found.text) == len(piece)
    assert 299 <= found.count <= 300


def test_the_limit_of_a_loop_without_a_space_is_exact() -> None:
    assert unbroken_loop(Words("ab" * 50), 100) is None
    assert unbroken_loop(Words("ab" * 50 + "a"), 100) == Repeated("ab", 50)


def test_an_unbroken_stretch_that_does_not_repeat_itself_is_no_loop() -> None:
    digits = "".join(str(n) for n in range(3_000))
    assert unbroken_loop(Words(digits), 64) is None
    # The same long piece twice, far apart, is no loop either.
    assert unbroken_loop(Words(digits[:100] + digits[200:900] + digits[:100]), 64) is None


HONEST = {
    "interjections": " ".join(f"Wait. Step {i} gives {i * 7}. Hmm. So." for i in range(200)),
    "list numbers": "\n\n".join(f"1. {i} apples\n2. {i + 1} pears and {i} figs" for i in range(99)),
    "closing braces": "\n".join(
        f"    if (x == {i}) {{\n        f({i});\n    }}" for i in range(99)
    ),
    "rulers": f"{'-' * 80}\n\n" * 3 + "|---|---|\n" + "| 1 | 2 |\n" * 3,
    "a row of zeros": "The matrix is " + "0 " * 60 + "and so on.",
    "a large power of ten": "That is 1" + "0" * 400 + ".",
    "display maths": "\n\n".join(f"\\[\nx_{i} = {i}\n\\]\n\nTherefore:" for i in range(50)),
    "chinese": "。".join(f"第{i}步我们得到{i * 13}，于是" for i in range(80)),
    "a table": "\n".join(f"| {i} | no | no | no |" for i in range(1, 13)),
    "an identity matrix": "\\begin{pmatrix}\n"
    + " \\\\\n".join(" & ".join(str(int(i == j)) for j in range(10)) for i in range(10))
    + "\n\\end{pmatrix}",
    "an enumeration": "\n".join(
        f"For n = {i}: {i} is no square and not a cube." for i in range(40)
    ),
    "drafts of one program": "\n\n".join(
        f"Draft {i}.\n\n```python\ndef f(n):\n    return n + 1 if n else 0 * n\n```"
        for i in range(9)
    ),
    "one long token": "".join(f"{i}," for i in range(4_000)),
}


@pytest.mark.parametrize("name", HONEST)
def test_what_recurs_in_honest_text_is_no_loop(name: str) -> None:
    assert broken_rules(Response(HONEST[name], "Done.", 1), DEFAULTS) == []


LOOPS = {
    "one word": ("wait " * 64_000, {"repeated_ngram": "8000 x 'wait wait wait wait"}),
    "one token without spaces": ("ha" * 64_000, {"repeated_characters": "64000 x 'ha'"}),
    "one zero-width token": ("\u200b" * 9_000, {"repeated_characters": "9000 x '\\u200b'"}),
    "one emoji": ("🙂" * 9_000, {"repeated_ngram": "1125 x '🙂🙂🙂🙂🙂🙂🙂🙂'"}),
    "chinese": ("我们再想想看" * 9_000, {"repeated_ngram": "4500 x '我们再想想看我们'"}),
    "chinese sentences": (
        "我们再想想看。" * 900,
        {"repeated_sentence": "900 x '我们再想想看。'", "repeated_ngram": "450 x "},
    ),
    "a sentence": (
        "But then again we must be careful here. " * 8_000,
        {"repeated_sentence": "8000 x 'But then again we must be careful here.'",
         "repeated_ngram": "8000 x 'But then again we must be careful here.'"},
    ),
    "a paragraph of new sentences": (
        "\n\n".join(["This one is short but long enough.\nThat one is not the same at all."] * 4),
        {"repeated_paragraph": "4 x 'This one is short"},
    ),
    "a few short words": ("So. No. " * 100, {"repeated_ngram": "25 x 'So. No. So. No. So. No"}),
    "one row of a table": ("| 3 | no | no | no |\n" * 99, {"repeated_ngram": "99 x '| 3 | no"}),
    "one line of code": (
        "```\n" + "x = x + 1; " * 200 + "\n```", {"repeated_ngram": "99 x '1; x = x + 1; x ='"}
    ),
    "environments that never end": (
        "\\begin{matrix} 0 & 0 " * 20_000, {"repeated_ngram": "9999 x '& 0 "}
    ),
    "a loop at the end of a long answer": (
        " ".join(f"w{i}" for i in range(60_000)) + " and now we start again from here" * 40,
        {"repeated_ngram": "20 x 'and now we start again from here and'"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_is_found_at_its_levels_with_what_and_how_often(name: str) -> None:
    text, expected = LOOPS[name]
    broken = broken_rules(Response(text.strip(), "It is 4.", 1), DEFAULTS)
    found = {each["rule"]: each["evidence"] for each in broken}
    assert set(found) == set(expected)
    for rule, evidence in expected.items():
        assert found[rule].startswith(evidence)


def test_labelled_texts_are_told_apart() -> None:
    """The table in benchmarks/README.md; a seed that no rule was written with."""
    texts = labelled_texts(seed=1)
    found = [fired(each) for each in texts]
    assert sum(not each.rules for each in texts) >= 150 <= sum(bool(each.rules) for each in texts)
    for rule in (*RULES, "any of them"):
        precision, recall = scores(texts, found, rule)
        assert precision >= 0.98 and recall >= 0.95, rule


def test_no_text_at_all() -> None:
    assert broken_rules(Response("", "", 1), DEFAULTS) == [
        {"rule": "no_reasoning", "evidence": "no reasoning"},
        {"rule": "no_final_answer", "evidence": "no answer"},
    ]
