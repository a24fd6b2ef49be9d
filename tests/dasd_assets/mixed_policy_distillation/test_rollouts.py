"""Rollouts: which questions, with which cap, independent of order and of new shards."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from dasd_assets.mixed_policy_distillation.rollouts import rollout_cap, sample_rollout_questions
from resources.contracts import DIVERGENCE_SAMPLE


def sample(questions: range, answers: int = 2, shard: str = "s") -> pa.Table:
    rows: list[dict[str, Any]] = [
        {
            "response_id": f"r{question}-{answer}", "question_id": f"q{question}",
            "domain": "math", "question": "?", "question_shard": shard, "response_text": "t",
            "n_student_tokens": 9, "score": 0.5, "rank": 1,
        }
        for question in questions
        for answer in range(answers)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=DIVERGENCE_SAMPLE)


def chosen(table: pa.Table, n: int = 30, seed: int = 0) -> list[str]:
    rows = sample_rollout_questions(table, n, seed)
    assert rows.schema.equals(DIVERGENCE_SAMPLE)
    return list(rows["response_id"].to_pylist())


def question(response_id: str) -> str:
    return response_id.split("-")[0]


def test_one_answer_per_question() -> None:
    names = chosen(sample(range(100)))
    assert len(names) == len({question(name) for name in names}) == 30
    assert {name.split("-")[1] for name in names} == {"0", "1"}


def test_neither_order_nor_chance_but_the_seed_decides() -> None:
    table = sample(range(100))
    backwards = table.take(list(range(table.num_rows))[::-1])
    assert chosen(table) == chosen(table) == chosen(backwards)
    assert set(chosen(table)) != set(chosen(table, seed=1))


def test_a_new_shard_displaces_only_as_many_as_it_brings() -> None:
    old = sample(range(100))
    before = chosen(old)
    after = chosen(pa.concat_tables([old, sample(range(100, 150), shard="new")]))
    new = [name for name in after if int(question(name)[1:]) >= 100]
    assert 0 < len(new) < 30
    assert [name for name in after if name not in new] == before[: 30 - len(new)]


def test_fewer_questions_than_asked_for_are_all_taken() -> None:
    assert len(chosen(sample(range(5)))) == 5
    assert chosen(sample(range(0))) == []


@pytest.mark.parametrize(("n", "ratio", "cap"), [(100, 1.5, 150), (101, 1.5, 151), (1, 1.5, 1)])
def test_cap(n: int, ratio: float, cap: int) -> None:
    assert rollout_cap(n, ratio) == cap
