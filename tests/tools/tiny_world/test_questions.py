"""Drops and evaluation sets: deterministic, verifiable in shape, disjoint."""

from __future__ import annotations

from collections import Counter

import pytest

from tools.tiny_world.drawing import (
    N_DROPS,
    N_EVALUATION_PER_DOMAIN,
    Held,
    n_grams,
    normalised,
    to_jsonl,
)
from tools.tiny_world.questions import DOMAINS, drops, evaluation_problems


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict[str, object]]]:
    return drops(0)


def test_same_seed_same_bytes_and_other_seed_other_questions(
    rows: dict[str, list[dict[str, object]]],
) -> None:
    assert [to_jsonl(r) for r in drops(0).values()] == [to_jsonl(r) for r in rows.values()]
    assert to_jsonl(drops(1)["drop-01"]) != to_jsonl(rows["drop-01"])


def test_drops_are_large_mixed_and_repeat_a_few_questions(
    rows: dict[str, list[dict[str, object]]],
) -> None:
    assert len(rows) == N_DROPS
    counts = Counter(normalised(str(row["question"])) for drop in rows.values() for row in drop)
    assert len(counts) == 512
    assert 10 <= sum(counts.values()) - len(counts) <= 30
    for drop in rows.values():
        assert Counter(str(row["domain"]) for row in drop).keys() == set(DOMAINS)


def test_evaluation_is_harder_than_training(rows: dict[str, list[dict[str, object]]]) -> None:
    trained = [row["difficulty"] for drop in rows.values() for row in drop]
    asked = [p.difficulty for group in evaluation_problems(0).values() for p in group]
    assert trained.count(2) / len(trained) < 0.5
    assert asked.count(2) / len(asked) > 0.6


def test_evaluation_is_disjoint_from_training_by_text_and_13_grams(
    rows: dict[str, list[dict[str, object]]],
) -> None:
    problems = evaluation_problems(0)
    assert {d: len(group) for d, group in problems.items()} == dict.fromkeys(
        DOMAINS, N_EVALUATION_PER_DOMAIN
    )
    held = Held(problems)
    # The rule must bite where it should, or this test could not fail.
    assert held.has(problems["math"][0].question.upper())
    assert held.n_grams
    for drop in rows.values():
        for row in drop:
            assert normalised(str(row["question"])) not in held.texts
            assert held.n_grams.isdisjoint(n_grams(str(row["question"])))


def test_n_grams() -> None:
    assert n_grams("A b, c!", 2) == {"a b", "b c"}
    assert n_grams("a b", 3) == set()
