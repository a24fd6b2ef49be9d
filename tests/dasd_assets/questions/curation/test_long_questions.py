"""Memory of curation is linear in the text, however long one question is."""

import random
import tracemalloc
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from dasd_assets.profile import Questions
from dasd_assets.questions.curation import shards
from dasd_assets.questions.curation.buckets import Buckets
from dasd_assets.questions.curation.decontamination import EvaluationGrams
from dasd_assets.questions.curation.near_duplicates import Banding, comparables
from dasd_assets.questions.curation.shards import in_parts

HELD_OUT = " ".join(f"held{i}" for i in range(14))
GRAMS = EvaluationGrams(pa.table({"benchmark": ["math"], "question": [HELD_OUT]}), 13)
BANDING = Banding(Questions(inbox="inbox"))


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def long_question(n_words: int) -> str:
    chosen = random.Random(n_words)
    return " ".join(f"w{chosen.randrange(10**6):06}" for _ in range(n_words))


def decontaminated(question: str) -> None:
    assert GRAMS.match(question) is None


def banded(question: str) -> None:
    BANDING.keys(comparables([question], ["math"], 5))


@pytest.mark.parametrize("work", [decontaminated, banded])
def test_memory_is_linear_in_the_text(work: Callable[[str], None]) -> None:
    work(long_question(10))  # libraries are imported
    text = long_question(40_000)
    peak = peak_bytes(lambda: work(text))
    assert peak < 100 * len(text), peak / len(text)


def test_what_a_long_question_shares_is_found_wherever_it_stands() -> None:
    words = long_question(5_000).split()
    for place in (0, 2_500, 5_000):
        asked = " ".join([*words[:place], HELD_OUT, *words[place:]])
        assert GRAMS.match(asked) == f"{' '.join(HELD_OUT.split()[:13])} (math)"
        assert GRAMS.match(asked.replace("held7", "other")) is None


def test_of_a_gram_in_several_sets_the_first_is_told() -> None:
    table = pa.table({"benchmark": ["b", "a", "c"], "question": ["x y z u", "x y z", "3 + 4"]})
    grams = EvaluationGrams(table, 3)
    assert grams.match("u x y z") == "x y z (a)"
    assert grams.match("3 + 4") == "3 + 4 (c)"
    assert grams.match("3 - 4") is None


def test_keys_do_not_depend_on_the_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = comparables([long_question(300)], ["math"], 5)
    whole = BANDING.keys(compared)
    monkeypatch.setattr("dasd_assets.questions.curation.near_duplicates.MINHASHED_AT_ONCE", 7)
    assert (BANDING.keys(compared) == whole).all()


def test_candidates_are_compared_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dasd_assets.questions.curation.buckets.COMPARED_AT_ONCE", 5)
    buckets = Buckets(0.8)
    for number in range(20):
        buckets.add((0, number), np.arange(number, number + 4, dtype=np.uint32), [1])
    match = buckets.match(np.arange(7, 11, dtype=np.uint32), [1])
    assert match is not None and match.question == (0, 7)
    assert buckets.match(np.arange(100, 104, dtype=np.uint32), [1]) is None


def test_long_rows_come_in_smaller_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "PART_BYTES", 1_000)
    questions = ["a" * 10] * 20 + ["b" * 600] * 5 + ["c" * 5_000] + ["d"] * 4
    batch = pa.RecordBatch.from_pydict({"question": questions})
    parts = list(in_parts(lambda: [batch]))
    assert [text for part in parts for text in part.raw["question"].to_pylist()] == questions
    assert [part.first for part in parts] == [
        sum(before.raw.num_rows for before in parts[:index]) for index in range(len(parts))
    ]
    assert all(part.raw.nbytes <= 1_000 or part.raw.num_rows == 1 for part in parts)
