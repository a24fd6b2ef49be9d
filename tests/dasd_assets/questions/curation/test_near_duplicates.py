"""Near-duplicates: what is compared, exactly; and that LSH finds what is alike."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dasd_assets.questions.curation.near_duplicates import Banding, comparables, jaccard
from tests.support.curation import settings_of

LONG = (
    "A ship leaves the harbour at 7 in the morning and sails north for 3 hours at a speed of 12 "
    "knots. It then turns to the east and goes on for 5 hours at 9 knots, before it drops anchor "
    "in a bay. How far is it from the harbour at that moment, in nautical miles, if there was no "
    "current and the wind did not matter? Round your result to whole miles and show all steps."
)


def similarity(one: str, other: str, n_words: int = 5) -> float:
    """Jaccard similarity; 0 if the formal tokens differ."""
    first, second = comparables([one, other], ["math", "math"], n_words)
    if first.formal != second.formal:
        return 0.0
    return float(jaccard(first.shingles, [second.shingles])[0])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 345 + 128?", "What is 345 + 129?"),
        ("What is 345 + 128?", "What is 345 - 128?"),
        ("What is 345 - 128?", "What is 128 - 345?"),
        ("Find the mean of 3, 5.", "Find the mean of 3.5."),
        ("Solve for x.", "Solve for y."),
        (LONG, LONG.replace("12 knots", "13 knots")),
        (LONG, LONG.replace("at 7 in", "at 5 in").replace("for 5 hours", "for 7 hours")),
        (f"{LONG} A) 1 B) 2", f"{LONG} A) 1 C) 2"),
        (f"{LONG} Use x^2.", f"{LONG} Use x^3."),
        (f"{LONG} Use x\u00b2.", f"{LONG} Use x\u00b3."),
        ("Which element comes after Neon? A) B", "Which element comes after Iron? A) B"),
        ("Write the words iron, fish backwards.", "Write the words iron, cloud backwards."),
        ("\u6c42\u548c\u7684\u503c\u662f\u591a", "\u6c42\u5dee\u7684\u503c\u662f\u591a"),
        ("What is 5!", "What is 5"),
        ("What is (n + 1)!?", "What is (n + 1)?"),
    ],
)  # fmt: skip
def test_questions_that_differ_in_what_matters_are_not_alike(one: str, other: str) -> None:
    assert similarity(one, other) < 0.8


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 345 + 128?", "what is 345 + 128"),
        ("Is (3 + 4) even?", "Is $3 + 4$ even"),
        ("Compute \\(x\\) if the sum is 4.", "Compute $x$, if the sum is 4"),
        ("Tell me the sum!", "Tell me the sum."),
        (LONG, f"Solve the following problem. {LONG}"),
        (LONG, LONG.replace("harbour at 7", "harbor at 7")),
    ],
)
def test_the_same_question_in_other_clothes_is_alike(one: str, other: str) -> None:
    assert similarity(one, other) >= 0.8


def test_the_domain_is_part_of_a_question() -> None:
    math, code = comparables([LONG, LONG], ["math", "code"], 5)
    assert math.formal != code.formal
    banding = Banding(settings_of())
    math_keys, code_keys = banding.keys([math, code])
    assert not set(math_keys.tolist()) & set(code_keys.tolist())


WORDS = st.lists(st.sampled_from(["one", "two", "three", "four", "five", "six"]), max_size=12)


@pytest.mark.parametrize("n", [12, 40])
@pytest.mark.parametrize("changed", [0, 6, -1])
def test_up_to_40_words_no_word_may_differ_wherever_it_stands(n: int, changed: int) -> None:
    words = [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(n)]
    other = list(words)
    other[changed] = "another"
    assert similarity(" ".join(words), " ".join(other)) < 0.8
    assert similarity(" ".join([*words, "last"]), " ".join([*other, "last"])) == pytest.approx(
        n / (n + 10)
    )


@given(one=WORDS, others=st.lists(WORDS.filter(bool), min_size=1, max_size=5), n=st.integers(1, 4))
def test_similarity_is_that_of_sets_of_word_ngrams(
    one: list[str], others: list[list[str]], n: int
) -> None:
    def shingles(words: list[str]) -> set[tuple[str, ...]]:
        if not words:
            return set()
        padded = [""] * (n - 1) + words + [""] * (n - 1)
        return {tuple(padded[i : i + n]) for i in range(len(padded) - n + 1)}

    texts = [" ".join(words) for words in [one, *others]]
    first, *rest = comparables(texts, ["math"] * len(texts), n)
    assert len(first.shingles) == len(shingles(one))
    if not one:
        return
    expected = [
        len(shingles(one) & shingles(other)) / len(shingles(one) | shingles(other))
        for other in others
    ]
    assert jaccard(first.shingles, [each.shingles for each in rest]).tolist() == expected


def test_a_question_without_words_has_no_shingles() -> None:
    (empty,) = comparables(["?!"], ["math"], 5)
    assert not len(empty.shingles)


@pytest.mark.parametrize(("alike", "least"), [(0.9, 0.98), (0.8, 0.8)])
def test_most_pairs_that_are_alike_share_a_band(alike: float, least: float) -> None:
    rng = random.Random(0)
    banding = Banding(settings_of())
    n, found, pairs = 100, 0, 400
    changed = round(n * (1 - alike) / (1 + alike))
    for pair in range(pairs):
        (template,) = comparables([f"word{pair}"], ["math"], 5)
        ours = [rng.getrandbits(32) for _ in range(n)]
        theirs = ours[changed:] + [rng.getrandbits(32) for _ in range(changed)]
        sets = [
            type(template)(np.unique(np.array(each, np.uint32)), template.formal)
            for each in (ours, theirs)
        ]
        assert jaccard(sets[0].shingles, [sets[1].shingles])[0] == pytest.approx(alike, abs=0.02)
        one, other = banding.keys(sets)
        found += bool(set(one.tolist()) & set(other.tolist()))
    assert found / pairs >= least


def test_band_keys_are_the_same_in_every_version() -> None:
    """They are stored: other keys under the same name would find nothing any more."""
    banding = Banding(settings_of())
    assert banding.name == "affine32, 5 words, 128 permutations, 14 x 9"
    (keys,) = banding.keys(comparables(["What is the sum of all primes below ten?"], ["math"], 5))
    assert keys[:2].tolist() == [409655143438632545, 8501864428449869289]


@pytest.mark.parametrize("threshold", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("permutations", [16, 256])
def test_every_allowed_setting_gives_bands(threshold: float, permutations: int) -> None:
    settings = settings_of(
        near_duplicate_jaccard=threshold, near_duplicate_permutations=permutations
    )
    banding = Banding(settings)
    bands, rows = map(int, re.findall(r"(\d+) x (\d+)", banding.name)[0])
    assert bands * rows <= permutations
    one, other = banding.keys(comparables([LONG, LONG], ["math", "math"], 5))
    assert one.tolist() == other.tolist()
    assert len(set(one.tolist())) == bands
