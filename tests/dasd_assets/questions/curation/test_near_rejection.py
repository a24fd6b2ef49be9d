"""Near-duplicates across shards: evidence, order, and that a re-run changes nothing."""

from __future__ import annotations

import random
import re
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dasd_assets.questions.curation import buckets, shards
from dasd_assets.questions.curation.near_duplicates import comparables, jaccard
from dasd_assets.questions.curation.normalisation import question_id
from resources.lake.tables.questions import BENCHMARK_QUESTIONS, RAW_QUESTIONS
from tests.support.curation import Result, curate, settings_of

pytestmark = pytest.mark.slow

NEAR = settings_of(near_duplicate_jaccard=0.6, near_duplicate_shingle_words=2)
WORDS = [f"word{chr(97 + i)}" for i in range(20)]


def raw(*questions: str, drop: str = "d.jsonl") -> pa.Table:
    rows = [
        {"drop": drop, "line": line, "question": q, "domain": "math", "answer": "1"}
        for line, q in enumerate(questions, 1)
    ]
    return pa.Table.from_pylist(rows, schema=RAW_QUESTIONS)


def sentence(*without: int) -> str:
    return " ".join(word for i, word in enumerate(WORDS) if i not in without)


def verdicts(result: Result) -> list[tuple[int, str, str]]:
    return [(r["line"], r["reason"], r["evidence"]) for r in result.rejected.to_pylist()]


def test_the_first_stays_and_is_the_evidence_with_the_similarity() -> None:
    result = curate(raw(sentence(), sentence() + "?!", "other words", sentence(19)), NEAR)
    first = question_id("math", sentence())
    assert result.questions["line"].to_pylist() == [1, 3]
    assert verdicts(result) == [
        (2, "near_duplicate_in_drop", f"{first} line 1 (Jaccard 1.000)"),
        (4, "near_duplicate_in_drop", f"{first} line 1 (Jaccard 0.864)"),
    ]


def test_evidence_in_another_file_of_the_drop_names_the_file() -> None:
    both = pa.concat_tables([raw(sentence(), drop="d/1.jsonl"), raw(sentence(0), drop="d/2.jsonl")])
    ((_, _, evidence),) = verdicts(curate(both, NEAR))
    assert evidence == f"{question_id('math', sentence())} d/1.jsonl line 1 (Jaccard 0.864)"


@pytest.mark.parametrize("keep_signatures", [True, False])
def test_a_near_duplicate_of_another_shard_names_question_and_shard(keep_signatures: bool) -> None:
    """Also if the other shard has no signatures, or such of other settings: then they are made."""
    other_settings = NEAR if keep_signatures else settings_of(near_duplicate_jaccard=0.9)
    first = curate(raw("something else", sentence()), other_settings)
    result = curate(raw(sentence(3), "third"), NEAR, others={"drop-01": first})
    identity = question_id("math", sentence())
    assert verdicts(result) == [
        (1, "near_duplicate_of_shard", f"{identity} in drop-01 (Jaccard 0.864)")
    ]
    assert result.signatures["question_id"].to_pylist() == [question_id("math", "third")]
    assert result.signatures["curation_order"].to_pylist() == [2]


def test_a_shard_without_signatures_is_compared_with_all_the_same() -> None:
    first = curate(raw(sentence()), settings_of(near_duplicate_jaccard=None))
    assert not first.signatures.num_rows
    assert curate(raw(sentence(3)), NEAR, others={"a": first}).questions.num_rows == 0


def test_null_switches_it_off() -> None:
    off = curate(raw(sentence(), sentence(1)), settings_of(near_duplicate_jaccard=None))
    assert off.questions.num_rows == 2
    assert off.signatures.num_rows == 0


def test_only_questions_that_stay_reject_others() -> None:
    held_out = pa.Table.from_pylist(
        [{"question_id": "b", "benchmark": "aime", "domain": "math", "question": sentence(),
          "answer": "1"}],
        schema=BENCHMARK_QUESTIONS,
    )  # fmt: skip
    altered = " ".join(reversed(WORDS[3:]))
    result = curate(raw(sentence(), altered, altered + "?!"), NEAR, held_out=held_out)
    assert [reason for _, reason, _ in verdicts(result)] == [
        "contaminated", "near_duplicate_in_drop",
    ]  # fmt: skip
    # A chain: the middle one is like both ends, the ends are not like each other.
    chain = [sentence(), sentence(0, 5, 10), sentence(0, 5, 10, 2, 7, 13)]
    assert curate(raw(*chain), NEAR).questions["line"].to_pylist() == [1, 3]


def test_the_size_of_the_parts_a_shard_is_read_in_does_not_matter() -> None:
    texts = [sentence(), "one", sentence(2), "ONE", "two", sentence(), sentence(5), "three", "two"]
    first = curate(raw("three", sentence(7)), NEAR)
    whole = curate(raw(*texts), NEAR, others={"s1": first})
    with mock.patch.object(shards, "BATCH_ROWS", 2):
        parts = curate(raw(*texts), NEAR, others={"s1": first})
    assert whole.rejected.num_rows == 7
    assert parts.questions.equals(whole.questions)
    assert parts.rejected.equals(whole.rejected)
    assert parts.signatures.equals(whole.signatures)


def test_generated_questions_that_differ_in_numbers_only_all_stay() -> None:
    texts = [f"What is {a} + {b}?" for a in range(100, 140) for b in range(100, 140)]
    assert curate(raw(*texts), settings_of()).questions.num_rows == len(texts)


def test_questions_without_words_all_stay_and_have_no_keys() -> None:
    result = curate(raw("?", "!?", "..."), NEAR)
    assert result.questions.num_rows == 3
    assert result.signatures["band_keys"].to_pylist() == [[], [], []]


TEXT = st.lists(st.integers(0, 19), max_size=4, unique=True).map(lambda gaps: sentence(*gaps))
SHARD = st.lists(TEXT, min_size=1, max_size=6)


@settings(max_examples=12, deadline=None)
@given(
    drops=st.lists(SHARD, min_size=2, max_size=3),
    order=st.randoms(use_true_random=False),
    compared=st.sampled_from([1, 2, 50]),
)
def test_curating_a_shard_again_gives_what_it_gave_and_nothing_is_lost(
    drops: list[list[str]], order: random.Random, compared: int
) -> None:
    with mock.patch.object(buckets, "MAX_COMPARED", compared):
        now: dict[str, Result] = {}
        for number, texts in enumerate(drops):
            now[f"s{number}"] = curate(raw(*texts), NEAR, others=dict(now))
        first = dict(now)
        again = list(range(len(drops)))
        order.shuffle(again)
        for number in again:
            name = f"s{number}"
            others = {other: now[other] for other in now if other != name}
            place = int(first[name].signatures["curation_order"][0].as_py()) if (
                first[name].signatures.num_rows
            ) else number + 1  # fmt: skip
            now[name] = curate(raw(*drops[number]), NEAR, others=others, order=place)
            assert now[name].questions.equals(first[name].questions)
            assert now[name].rejected.equals(first[name].rejected)
            assert now[name].signatures.equals(first[name].signatures)
    kept = {
        identity: text
        for result in first.values()
        for identity, text in zip(
            result.questions["question_id"].to_pylist(),
            result.questions["question"].to_pylist(),
            strict=True,
        )
    }
    assert sum(result.questions.num_rows for result in first.values()) == len(kept)
    for number, texts in enumerate(drops):
        for line, reason, evidence in verdicts(first[f"s{number}"]):
            if reason.startswith("near"):
                alike = kept[evidence.split()[0]]
                pair = comparables([texts[line - 1], alike], ["math", "math"], 2)
                measured = jaccard(pair[0].shingles, [pair[1].shingles])[0]
                assert measured >= 0.6
                (stated,) = re.findall(r"Jaccard ([\d.]+)", evidence)
                assert float(stated) == pytest.approx(measured, abs=0.0006)


def test_a_question_that_a_changed_drop_brings_does_not_enter_twice() -> None:
    first = curate(raw("one thing"), NEAR)
    second = curate(raw(sentence()), NEAR, others={"s1": first})
    changed = curate(
        raw("one thing", sentence(4), sentence()), NEAR, others={"s2": second}, order=1
    )
    assert [(line, reason) for line, reason, _ in verdicts(changed)] == [
        (2, "near_duplicate_of_shard"),
        (3, "duplicate_of_shard"),
    ]


def test_after_a_changed_setting_the_first_shard_does_not_yield_to_later_ones() -> None:
    """The later one is stale too, and is compared with the first when it is curated again."""
    off = settings_of(near_duplicate_jaccard=0.99)
    first = curate(raw(sentence()), off)
    second = curate(raw(sentence(4)), off, others={"s1": first})
    assert second.questions.num_rows == 1
    first = curate(raw(sentence()), NEAR, others={"s2": second}, order=1)
    assert first.questions.num_rows == 1
    assert curate(raw(sentence(4)), NEAR, others={"s1": first}, order=2).questions.num_rows == 0
