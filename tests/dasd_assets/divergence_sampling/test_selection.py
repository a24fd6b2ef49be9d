"""Selection: exact budgets, shares, strata, ties, decisions, and an equal-budget random control."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError
from support.candidates import candidate, candidate_rows, candidate_table

from dasd_assets.divergence_sampling.policies import POLICIES
from dasd_assets.divergence_sampling.selection import DECISIONS, select
from dasd_assets.profile import DivergenceSampling
from resources.lake.table import ContractError
from resources.lake.tables.divergence_sampling import DIVERGENCE_CANDIDATES

ANY_SPEED = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
LONGEST = 5 * 39 + 2
"""Tokens of the longest response there can be in these tests."""


def run(rows: list[dict[str, Any]], seed: int = 0, **changes: Any) -> list[dict[str, Any]]:
    """Select from rows; by share, one answer a question, all questions alike, unless changed."""
    changes = {
        "policy": "divergence_share", "best_of_question": False, "max_answers_per_question": 1,
        **changes,
    }  # fmt: skip
    if "budget_tokens" not in changes:
        changes = {"budget_samples": 30, **changes}
    if shares := changes.pop("domain_shares", None):
        changes["domain_shares"] = {"low": shares}
    for budget in {"budget_samples", "budget_tokens"} & set(changes):
        changes[budget] = {"low": changes[budget]}
    settings = DivergenceSampling.model_validate(changes)
    table = select(candidate_table(rows), settings, "low", seed)
    assert table.schema.equals(DIVERGENCE_CANDIDATES, check_metadata=True)
    return table.to_pylist()


def selected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["is_selected"]]


def control(rows: list[dict[str, Any]], name: str = "random") -> list[dict[str, Any]]:
    return [row for row in rows if row[f"is_{name}_control"]]


def tokens(rows: list[dict[str, Any]]) -> int:
    return sum(row["n_student_tokens"] for row in rows)


def of(rows: list[dict[str, Any]], domain: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["domain"] == domain]


def most_per_question(rows: list[dict[str, Any]]) -> int:
    return max(Counter(row["question_id"] for row in rows).values(), default=0)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_budget_is_met_exactly_with_one_answer_per_question(policy: str) -> None:
    chosen = selected(run(candidate_rows(), policy=policy))
    assert len(chosen) == 30
    assert most_per_question(chosen) == 1
    assert all(row["decision"] == "selected" and row["policy"] == policy for row in chosen)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_budget_of_tokens_is_used_up_to_the_shortest_answer_left(policy: str) -> None:
    rows = run(candidate_rows(), policy=policy, budget_tokens=2_000)
    assert most_per_question(selected(rows)) == 1
    allowed = [
        row for row in rows
        if not row["is_selected"] and row["decision"] != "over_answers_per_question"
    ]  # fmt: skip
    shortest = min(row["n_student_tokens"] for row in allowed)
    assert 2_000 - shortest < tokens(selected(rows)) <= 2_000


def test_the_best_of_each_domain_are_chosen() -> None:
    rows = run(candidate_rows(answers=1))
    for domain in ("math", "code"):
        mine = of(rows, domain)
        worst = min(row["score"] for row in selected(mine))
        assert all(row["score"] <= worst for row in mine if not row["is_selected"])
        assert sorted(row["rank"] for row in mine) == list(range(1, len(mine) + 1))
        ranked = sorted(mine, key=lambda row: row["rank"])
        assert all(better["score"] >= row["score"] for better, row in pairwise(ranked))


def test_shares_are_kept_and_what_a_domain_lacks_goes_to_the_others() -> None:
    rows = candidate_rows(answers=1)
    halves = run(rows, domain_shares={"code": 0.5, "math": 0.5})
    assert Counter(row["domain"] for row in selected(halves)) == {"code": 15, "math": 15}
    available = len(of(rows, "code"))
    counts = Counter(
        row["domain"] for row in selected(run(rows, budget_samples=60, domain_shares={"code": 1.0}))
    )
    assert counts == {"code": available, "math": 60 - available}


def test_shares_of_a_budget_of_tokens_are_shares_of_tokens() -> None:
    rows = candidate_rows(300, answers=1)
    chosen = selected(run(rows, budget_tokens=6_000, domain_shares={"code": 0.25, "math": 0.75}))
    assert 1_500 - LONGEST < tokens(of(chosen, "code")) < 1_500 + LONGEST
    assert 4_500 - LONGEST < tokens(of(chosen, "math")) <= 4_500


def test_a_domain_without_a_share_does_not_get_the_crumbs_of_the_others() -> None:
    chosen = selected(run(candidate_rows(), budget_tokens=1_999, domain_shares={"math": 1.0}))
    assert {row["domain"] for row in chosen} == {"math"}


def test_strata_get_their_part_of_the_domain_whatever_the_policy_prefers() -> None:
    rows = candidate_rows(400, answers=1)
    plain = run(rows, policy="longest", budget_samples=100)
    assert {row["length_stratum"] for row in plain} == {1}
    strata = run(rows, policy="longest", budget_samples=100, length_strata=4)
    for domain in ("math", "code"):
        mine = of(strata, domain)
        there = Counter(row["length_stratum"] for row in mine)
        assert set(there) == {1, 2, 3, 4}
        chosen = Counter(row["length_stratum"] for row in selected(mine))
        n = sum(chosen.values())
        for stratum in there:
            assert abs(chosen[stratum] - n * there[stratum] / len(mine)) < 1
            in_it = [row for row in mine if row["length_stratum"] == stratum]
            worst = min(row["score"] for row in selected(in_it))
            assert all(row["score"] <= worst for row in in_it if not row["is_selected"])
        ordered = sorted(mine, key=lambda row: row["n_student_tokens"])
        assert all(a["length_stratum"] <= b["length_stratum"] for a, b in pairwise(ordered))


def test_what_a_stratum_cannot_fill_is_handed_on() -> None:
    # The longer half are all answers to one question, of which only one may be chosen.
    rng = random.Random(0)
    rows = [
        {**candidate(i, max(i, 20), "math", rng), "n_student_tokens": 1_000 - 10 * i}
        for i in range(40)
    ]
    rows = run(rows, budget_samples=12, length_strata=2)
    assert Counter(row["length_stratum"] for row in rows) == {1: 20, 2: 20}
    assert Counter(row["length_stratum"] for row in selected(rows)) == {1: 11, 2: 1}


def test_strata_that_hold_nobody_leave_the_budget_to_those_that_do() -> None:
    rows = [{**row, "n_student_tokens": 100} for row in candidate_rows(answers=1)]
    rows = run(rows, length_strata=10)
    assert {row["length_stratum"] for row in rows} == {1}
    assert len(selected(rows)) == 30


def test_every_decision_has_its_reason() -> None:
    rng = random.Random(0)
    lengths = {"a": 50, "b": 400, "c": 30, "d": 20, "e": 20}
    rows = [
        {**candidate(i, i, "math", rng), "response_id": name, "n_student_tokens": n,
         "teacher_sentence_share": 0.9 - i / 10}
        for i, (name, n) in enumerate(lengths.items())
    ]  # fmt: skip
    rows.append({**rows[0], "response_id": "a2", "teacher_sentence_share": 0.1})
    decisions = {r["response_id"]: r["decision"] for r in run(rows, budget_tokens=90)}
    assert decisions == {
        "a": "selected", "b": "too_long_for_budget", "c": "selected",
        "d": "over_domain_quota", "e": "over_domain_quota", "a2": "over_answers_per_question",
    }  # fmt: skip
    decisions = {
        r["response_id"]: r["decision"] for r in run(rows[:5], budget_samples=2, length_strata=2)
    }
    # Lengths up to 30 are one stratum: c, d, e; longer ones the other: a, b.
    assert decisions == {
        "a": "selected", "b": "over_stratum_quota", "c": "selected",
        "d": "over_domain_quota", "e": "over_domain_quota",
    }  # fmt: skip


def best_first(rows: list[dict[str, Any]], **changes: Any) -> list[dict[str, Any]]:
    """As the profile's defaults have it, of one domain."""
    defaults = {"policy": "divergence_count", "best_of_question": True}
    return run(rows, **{**defaults, "max_answers_per_question": None, **changes})


def counted(question: str, *n_teacher: int) -> list[dict[str, Any]]:
    """Answers to one question with so many Teacher Sentences each."""
    rng = random.Random(0)
    return [
        {**candidate(0, 0, "math", rng), "response_id": f"{question}{n}", "question_id": question,
         "n_teacher_sentences": n, "n_student_tokens": 10}
        for n in n_teacher
    ]  # fmt: skip


def test_the_best_answer_to_each_question_comes_before_the_second_best_to_any() -> None:
    rows = [*counted("a", 9, 8, 7), *counted("b", 3, 2), *counted("c", 6, 1)]
    by_size = [
        sorted(row["response_id"] for row in selected(best_first(rows, budget_samples=n)))
        for n in range(1, 8)
    ]
    # Of fewer answers than questions, the questions whose best answer has most.
    assert by_size[:3] == [["a9"], ["a9", "c6"], ["a9", "b3", "c6"]]
    # Then second answers while the budget lasts, then third ones.
    assert by_size[3] == ["a8", "a9", "b3", "c6"]
    assert by_size[5] == ["a8", "a9", "b2", "b3", "c1", "c6"]
    assert by_size[6] == sorted(row["response_id"] for row in rows)
    assert [row["rank"] for row in best_first(rows)] == [1, 4, 7, 3, 5, 2, 6]
    # All questions alike, the best answers are all to one of them.
    alike = selected(best_first(rows, budget_samples=3, best_of_question=False))
    assert {row["question_id"] for row in alike} == {"a"}


def test_a_budget_beyond_all_answers_takes_them_all_and_one_answer_a_question_works() -> None:
    rows = [*counted("a", 9, 8), *counted("b", 3), *counted("c", 6)]
    assert len(selected(best_first(rows, budget_samples=99))) == 4
    only_one = best_first([*counted("a", 2), *counted("b", 3)], budget_samples=1)
    assert [row["response_id"] for row in selected(only_one)] == ["b3"]


def test_the_longest_control_takes_the_longest_answer_to_each_question() -> None:
    rows = [{**row, "n_student_tokens": 10 + 3 * row["n_teacher_sentences"] % 8}
            for row in [*counted("a", 1, 2, 3), *counted("b", 4, 5, 6)]]  # fmt: skip
    found = best_first(rows, budget_samples=6)
    assert {row["response_id"] for row in control(found, "longest")} == {
        row["response_id"] for row in rows
    }
    found = best_first(rows, budget_tokens=30)
    longest = control(found, "longest")
    assert tokens(longest) <= tokens(selected(found)) <= 30
    for row in longest:
        same = [one["n_student_tokens"] for one in rows if one["question_id"] == row["question_id"]]
        assert row["n_student_tokens"] == max(same) or tokens(longest) + max(same) > 30


def test_shares_of_a_temperature_that_are_not_one_together_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"the shares of low are 0\.9 together"):
        run(candidate_rows(), domain_shares={"math": 0.5, "code": 0.4})


def test_ties_do_not_depend_on_the_order_of_rows() -> None:
    rows = [{**row, "teacher_sentence_share": 0.5} for row in candidate_rows()]
    names = {row["response_id"] for row in selected(run(rows))}
    assert names == {row["response_id"] for row in selected(run(rows[::-1]))}
    assert names != {row["response_id"] for row in selected(run(rows, seed=1))}


@pytest.mark.parametrize("name", ["random", "longest"])
@pytest.mark.parametrize("n_strata", [1, 4])
@pytest.mark.parametrize("budget", [{"budget_samples": 60}, {"budget_tokens": 6_000}])
@pytest.mark.parametrize("policy", POLICIES)
def test_each_control_has_the_tokens_of_the_selection(
    policy: str, budget: dict[str, int], n_strata: int, name: str
) -> None:
    rows = run(candidate_rows(600), policy=policy, length_strata=n_strata, **budget)
    assert most_per_question(control(rows, name)) == 1
    for domain in ("math", "code"):
        mine = of(rows, domain)
        spent = tokens(selected(mine))
        # Of a question without an answer in the control, either answer would not have fitted.
        drawn = {row["question_id"] for row in control(mine, name)}
        longer: Counter[str] = Counter()
        for row in mine:
            longer[row["question_id"]] = max(longer[row["question_id"]], row["n_student_tokens"])
        too_long = min(n for question, n in longer.items() if question not in drawn)
        assert 0 <= spent - tokens(control(mine, name)) < too_long


@pytest.mark.parametrize("policy", ["divergence_share", "longest", "rank_surprisal_ratio"])
def test_the_random_control_is_as_long_as_the_selection_in_every_stratum(policy: str) -> None:
    rows = run(candidate_rows(3_000), policy=policy, length_strata=4, budget_samples=600)
    for domain in ("math", "code"):
        for stratum in range(1, 5):
            cell = [row for row in of(rows, domain) if row["length_stratum"] == stratum]
            assert tokens(control(cell)) == pytest.approx(tokens(selected(cell)), rel=0.08)


def test_the_random_control_is_a_draw_of_its_own() -> None:
    for tie in (False, True):
        rows = candidate_rows(2_000, answers=1)
        if tie:
            rows = [{**row, "teacher_sentence_share": 0.5} for row in rows]
        rows = run(rows, policy="divergence_share" if tie else "random", budget_samples=1_000)
        both = [row for row in selected(rows) if row["is_random_control"]]
        assert 0.4 < len(both) / 1_000 < 0.6


@pytest.mark.parametrize("budget", [{"budget_samples": 10_000}, {"budget_tokens": 10**12}])
def test_a_budget_beyond_what_there_is_takes_all_and_invents_nothing(
    budget: dict[str, int],
) -> None:
    rows = run(candidate_rows(), length_strata=3, **budget)
    assert len(rows) == 100
    assert Counter(row["decision"] for row in rows) == {
        "selected": 50, "over_answers_per_question": 50,
    }  # fmt: skip


def test_a_budget_below_the_shortest_answer_takes_nothing() -> None:
    rows = run(candidate_rows(), budget_tokens=1)
    assert not selected(rows)
    assert not control(rows)


def test_nothing_to_choose_from_and_unknown_domains_are_errors() -> None:
    with pytest.raises(ContractError, match="no filtered responses"):
        run([])
    with pytest.raises(
        ContractError, match="low names physics, but there are only responses of code"
    ):
        run(candidate_rows(), domain_shares={"physics": 1.0})
    rows = candidate_rows()
    with pytest.raises(ContractError, match=r"1 response\(s\).*r7 in the shards drop-1, drop-9"):
        run([*rows, {**rows[7], "question_shard": "drop-9"}])


@pytest.mark.parametrize(
    "policy", ["divergence_share", "rank_surprisal_ratio", "teacher_likelihood"]
)
def test_a_score_that_is_not_finite_is_an_error_that_names_the_response(policy: str) -> None:
    rows = candidate_rows()
    broken = dict.fromkeys(
        ["teacher_sentence_share", "p_teacher", "mean_clipped_student_rank"], float("nan")
    )
    rows[40].update(broken)
    with pytest.raises(ContractError, match=rf"{policy} has no finite score .* r40 with .*=nan"):
        run(rows, policy=policy)


@st.composite
def selections(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    n_questions = draw(st.integers(1, 12))
    rng = random.Random(draw(st.integers(0, 2**16)))
    rows = []
    for index in range(draw(st.integers(1, 40))):
        question = rng.randrange(n_questions)
        rows.append(candidate(index, question, ("math", "code", "science")[question % 3], rng))
    there = sorted({row["domain"] for row in rows})
    settings = {
        "policy": draw(st.sampled_from(sorted(POLICIES))),
        "best_of_question": draw(st.booleans()),
        "max_answers_per_question": draw(st.none() | st.integers(1, 4)),
        "length_strata": draw(st.integers(1, 5)),
        "domain_shares": draw(
            st.none()
            | st.sampled_from(there).map(lambda name: {name: 1.0})
            | st.just({name: 1 / len(there) for name in there})
        ),
        draw(st.sampled_from(["budget_samples", "budget_tokens"])): draw(
            st.integers(1, 50) | st.integers(1, 5_000)
        ),
    }
    return rows, settings


@ANY_SPEED
@given(selections(), st.randoms(use_true_random=False))
def test_properties(
    selection: tuple[list[dict[str, Any]], dict[str, Any]], shuffling: random.Random
) -> None:
    given_rows, settings = selection
    rows = run(given_rows, **settings)
    chosen, drawn = selected(rows), control(rows)
    # Every candidate is there once, with one decision; nothing is invented or changed.
    assert [row["response_id"] for row in rows] == [row["response_id"] for row in given_rows]
    assert {row["decision"] for row in rows} <= set(DECISIONS)
    assert all(row["is_selected"] == (row["decision"] == "selected") for row in rows)
    # The budget is never exceeded; in samples, it is met as far as there are samples.
    k = settings["max_answers_per_question"] or len(rows)
    by_question = Counter(row["question_id"] for row in rows)
    if "budget_samples" in settings:
        available = sum(min(k, n) for n in by_question.values())
        assert len(chosen) == min(settings["budget_samples"], available)
        assert "too_long_for_budget" not in {row["decision"] for row in rows}
    else:
        assert tokens(chosen) <= settings["budget_tokens"]
    # At most k answers, in the selection and in the control; and no more tokens in the control.
    assert most_per_question(chosen) <= k
    assert most_per_question(drawn) <= k
    longest = control(rows, "longest")
    assert most_per_question(longest) <= k
    for domain in {row["domain"] for row in rows}:
        assert tokens(of(drawn, domain)) <= tokens(of(chosen, domain))
        assert tokens(of(longest, domain)) <= tokens(of(chosen, domain))
    # Neither the order of the rows nor the shards they came in change anything.
    shuffled = shuffling.sample(given_rows, len(given_rows))
    shards = [row["question_shard"] for row in shuffled]
    shuffling.shuffle(shards)
    moved = [{**row, "question_shard": shard} for row, shard in zip(shuffled, shards, strict=True)]
    again = {row["response_id"]: row for row in run(moved, **settings)}
    for row in rows:
        assert again[row["response_id"]] == {
            **row, "question_shard": again[row["response_id"]]["question_shard"],
        }  # fmt: skip
