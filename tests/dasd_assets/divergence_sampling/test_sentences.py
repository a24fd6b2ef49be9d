"""Sentences: every byte belongs to one whatever the segmenter, and rules for reasoning hold."""

from __future__ import annotations

import time
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dasd_assets.divergence_sampling.sentences import (
    Segmenter,
    segmenter_named,
    sentence_spans,
)
from formats.student_text import THINK_CLOSE, THINK_OPEN, student_text

SEGMENTERS = [segmenter_named("reasoning-rules"), segmenter_named("sentencex")]
RULES = SEGMENTERS[0]
PIECES = st.sampled_from(
    [
        *"aBé1. \n`!?…。！数😀$\\-\"')(*_~\t\r\x00\u2028\u0301", "```", "e.g. ", "```\n", "\\[",
        "\\]", "$$", "\\begin{x}", "\\end{x}", "\\(", "\\)", "Step 1. ", "A. B. ", "===\n",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=60)


@pytest.fixture(params=SEGMENTERS, ids=lambda segmenter: segmenter.name)
def segmenter(request: pytest.FixtureRequest) -> Segmenter:
    found: Segmenter = request.param
    return found


def cut(text: str, segmenter: Segmenter = RULES) -> list[str]:
    return [text[start:end] for start, end in pairwise([0, *segmenter.ends(text)])]


@pytest.mark.parametrize("segmenter", SEGMENTERS, ids=lambda segmenter: segmenter.name)
@settings(deadline=None)
@given(text=TEXTS)
def test_sentences_lose_nothing_of_any_text(segmenter: Segmenter, text: str) -> None:
    ends = segmenter.ends(text)
    assert all(left < right for left, right in pairwise([0, *ends]))
    assert "".join(cut(text, segmenter)) == text


@pytest.mark.parametrize("segmenter", SEGMENTERS, ids=lambda segmenter: segmenter.name)
@settings(deadline=None)
@given(texts=st.lists(st.tuples(TEXTS, TEXTS), max_size=4))
def test_spans_are_the_bytes_of_both_parts_and_no_template(
    segmenter: Segmenter, texts: list[tuple[str, str]]
) -> None:
    reasonings, answers = (pa.array([pair[i] for pair in texts], pa.string()) for i in (0, 1))
    ids = pa.array([f"r{index}" for index in range(len(texts))], pa.string())
    spans = sentence_spans(ids, reasonings, answers, segmenter)
    for index, (reasoning, answer) in enumerate(texts):
        text = student_text(reasoning, answer).encode()
        assert spans.n_text_bytes[index] == len(text)
        assert text[spans.answer_start[index] :] == answer.encode()
        n_covered = 0
        for is_answer, expected in ((False, reasoning), (True, answer)):
            mine = (spans.response == index) & (spans.is_answer == is_answer)
            found = list(zip(spans.start[mine].tolist(), spans.end[mine].tolist(), strict=True))
            pieces = [text[start:end].decode() for start, end in found]
            assert pieces == cut(expected, segmenter)
            assert all(left[1] == right[0] for left, right in pairwise(found))
            n_covered += sum(end - start for start, end in found)
        n_marks = len(THINK_OPEN + THINK_CLOSE) if reasoning else 0
        assert len(text) - n_covered == n_marks
        n_sentences = int((spans.response == index).sum())
        assert spans.index[spans.response == index].tolist() == list(range(n_sentences))


def test_blocks_stay_whole(segmenter: Segmenter) -> None:
    for block in ("```py\nx = 1\n\ny = 2. Z = 3\n```\n", "\\[\nx = 1.\ny = 2.\n\\]\n"):
        assert cut(f"See this.\n{block}Then done.", segmenter) == [
            "See this.\n",
            block,
            "Then done.",
        ]


def test_text_without_characters_has_no_sentence(segmenter: Segmenter) -> None:
    assert segmenter.ends("") == []
    assert segmenter.ends(" ") == [1]


@pytest.mark.parametrize(
    "sentences",
    [
        ["We add 3.14 and 2.5. ", "Then we stop! ", "Is it right? ", "Yes."],
        ["See e.g. Newton, i.e. Sir Isaac. ", "Dr. Smith agrees."],
        ["See Fig. 2, No. 5 and p. 7. ", "No. ", "The answer is not there."],
        ["Shown by J. Halvorsen and K. L. Brandt. ", "It is B. ", "Then C is wrong."],
        ["Let p be prime. ", "p divides n. ", "f(2) is 8."],
        ["First line\n", "- a list item\n", "- Another. ", "Two in one.\n\n", "The end"],
        ["1. Add.\n", "2. Take away. ", "Then stop.\n", "**3.** Done.\n", "Step 4. Rest."],
        ["**Step 1.** ", "We add.\n", "# Heading\n", "Title\n=====\n", "Text"],
        ["So \\(x = 2\\). ", "$y = 3$ follows. ", "$z = 4.$ ", "\\boxed{5}"],
        ["It costs $5. ", "The other $6. ", "So $f: A \\to B. $ is onto."],
        ["We add:\n", "\\[\nx = 2.\ny = 3.\n\\]\n", "$$\na. B\n$$\n", "Then stop."],
        ["\\begin{align}\nx &= 3.\n\\end{align}\n", "Adding."],
        ["Use `a. B` here. ", "`c` is `What? No!`"],
        ['He said "No." ', "Then he left. ", "“Is it far?” she asked. ", "(It was.) ", "Fine."],
        ["See https://example.org/a.html?q=1. ", "Then come back to example.org."],
        ["Hmm... not quite. ", "Let me see... ", "It is 9… ", "So 9."],
        ["¿Es 5? ", "¡Sí! ", "Fin."],
        ["By eq. (3) we get 5. ", "It took 5 sec. ", "3 more."],
        ["Correct. ", "✅ Now the next case. ", "Done! 🎉"],
        ["यह 5 है। ", "क्या यह सही है? ", "हाँ॥"],
        ["هل هو 5؟ ", "نعم. ", "ثم نجمع."],
        ["我们相加。", "得到五！", "对吗？", "对"],
        ["对吗？\n\n", "对。 ", "他说：“好。”", "3.14 的值。", "完"],
        ["Now the code.\n\n", "```py\nx = 1\n\ny = 2. Z = 3\n```\n", "Then done. ", "Really."],
        ["Code:\n", "```\nleft open\n\nto the end. Of it"],
        ["wait... and no new start. still the same"],
        [
            "This paragraph was wrapped at a fixed width by an editor, so that\nits text goes on. ",
            "Here is one that ends with its line.\n",
            "And one\n",
            "in two lines",
        ],
    ],
)  # fmt: skip
def test_rules(sentences: list[str]) -> None:
    assert cut("".join(sentences)) == sentences


@pytest.mark.parametrize(
    "unit",
    [
        "We add the two numbers and carry the one. ",
        "\\[ ",
        "$x ",
        "``` ",
        "`a ",
        "e.g. B ",
        "\n1. ",
    ],
)
def test_time_grows_with_the_length_not_its_square(unit: str) -> None:
    def seconds(n: int) -> float:
        started = time.process_time()
        RULES.ends(unit * n)
        return time.process_time() - started

    few = min(seconds(4_000) for _ in range(3))
    # Eight times the text: eight times the time, against 64 times if it were quadratic.
    assert min(seconds(32_000) for _ in range(3)) < 30 * few
