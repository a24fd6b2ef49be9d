"""Selection: exact budgets, shares, ties, and an equal-budget random control."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

from dasd_assets.divergence_sampling.policies import POLICIES
from dasd_assets.divergence_sampling.sample import join_sample
from dasd_assets.divergence_sampling.selection import select
from resources.contracts import (
    DIVERGENCE_CANDIDATES,
    DIVERGENCE_SAMPLE,
    RESPONSE_PROVENANCE,
    ContractError,
)

SCHEMA = RESPONSE_PROVENANCE.append(pa.field("question_shard", pa.string(), nullable=False))


def candidates(n: int = 100, answers: int = 2, seed: int = 0) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [
        {
            "response_id": f"r{i}", "question_id": f"q{i // answers}",
            "domain": ("math", "math", "code")[i // answers % 3], "sample_index": i % answers,
            "n_teacher_tokens": 9, "n_student_tokens": rng.randrange(20, 200), "n_sentences": 8,
            "n_teacher_sentences": 0, "n_student_sentences": 0, "n_shared_sentences": 8,
            "teacher_sentence_share": rng.randrange(8) / 8, "p_teacher": rng.random(),
            "p_student": rng.random(), "mean_student_rank": 2.0, "question_shard": "s",
        }
        for i in range(n)
    ]  # fmt: skip


def run(rows: list[dict[str, Any]], **changes: Any) -> list[dict[str, Any]]:
    settings: dict[str, Any] = {
        "policy": "divergence", "budget_samples": 30, "max_answers_per_question": 1,
        "domain_shares": None, "seed": 0, **changes,
    }  # fmt: skip
    table = select(pa.Table.from_pylist(rows, schema=SCHEMA), **settings)
    assert table.schema.equals(DIVERGENCE_CANDIDATES)
    assert table.num_rows == len(rows)
    return table.to_pylist()


def selected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["is_selected"]]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_budget_is_met_exactly_with_one_answer_per_question(policy: str) -> None:
    chosen = selected(run(candidates(), policy=policy))
    assert len(chosen) == 30
    assert max(Counter(row["question_id"] for row in chosen).values()) == 1
    assert all(row["decision"] == "selected" for row in chosen)


def test_the_best_of_each_domain_are_chosen() -> None:
    rows = run(candidates(answers=1))
    for domain in ("math", "code"):
        mine = [row for row in rows if row["domain"] == domain]
        worst = min(row["score"] for row in selected(mine))
        assert all(row["score"] <= worst for row in mine if not row["is_selected"])
        assert sorted(row["rank"] for row in mine) == list(range(1, len(mine) + 1))


def test_shares_are_kept_and_what_a_domain_lacks_goes_to_the_others() -> None:
    rows = candidates(answers=1)
    counts = Counter(
        r["domain"] for r in selected(run(rows, domain_shares={"code": 0.5, "math": 0.5}))
    )
    assert counts == {"code": 15, "math": 15}
    available = sum(row["domain"] == "code" for row in rows)
    counts = Counter(
        r["domain"] for r in selected(run(rows, budget_samples=60, domain_shares={"code": 1.0}))
    )
    assert counts == {"code": available, "math": 60 - available}


def test_ties_do_not_depend_on_the_order_of_rows() -> None:
    rows = [{**row, "teacher_sentence_share": 0.5} for row in candidates()]
    names = {row["response_id"] for row in selected(run(rows))}
    assert names == {row["response_id"] for row in selected(run(rows[::-1]))}
    assert names != {row["response_id"] for row in selected(run(rows, seed=1))}


def test_the_random_control_has_at_most_the_tokens_of_the_selection() -> None:
    for rows in (run(candidates(400)), run(candidates(400), policy="longest")):
        for domain in ("math", "code"):
            mine = [row for row in rows if row["domain"] == domain]
            budget = sum(row["n_student_tokens"] for row in selected(mine))
            control = [row for row in mine if row["is_random_control"]]
            assert budget - 200 < sum(row["n_student_tokens"] for row in control) <= budget
            assert max(Counter(row["question_id"] for row in control).values()) == 1


def test_a_budget_beyond_what_there_is_takes_all_and_invents_nothing() -> None:
    rows = run(candidates(), budget_samples=10_000)
    assert len(selected(rows)) == 50
    assert Counter(row["decision"] for row in rows) == {
        "selected": 50, "over_answers_per_question": 50,
    }  # fmt: skip


def test_nothing_to_choose_from_and_unknown_domains_are_errors() -> None:
    with pytest.raises(ContractError, match="no filtered responses"):
        run([])
    with pytest.raises(ContractError, match="names physics, but there are only responses of code"):
        run(candidates(), domain_shares={"physics": 1.0})


def test_the_sample_joins_the_texts_and_misses_none() -> None:
    rows = candidates(20, answers=1)
    table = select(
        pa.Table.from_pylist(rows, schema=SCHEMA), policy="divergence", budget_samples=5,
        max_answers_per_question=1, domain_shares=None, seed=0,
    )  # fmt: skip
    texts = pa.table(
        {
            "response_id": [row["response_id"] for row in rows],
            "question": ["?"] * 20,
            "response_text": [f"text of {row['response_id']}" for row in rows],
        }
    )
    sample = join_sample(table, texts)
    assert sample.schema.equals(DIVERGENCE_SAMPLE)
    for row in sample.to_pylist():
        assert row["response_text"] == f"text of {row['response_id']}"
    with pytest.raises(ContractError, match="not in filtered_responses"):
        join_sample(table, texts.slice(0, 0))
