"""The numbers behind the pictures, by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from duckdb import DuckDBPyConnection
from support.small_lake import filled, make_small_lake

from dasd_assets.reporting import picture_data
from resources.lake.lake import Lake
from resources.lake.warehouse import open_warehouse

pytestmark = pytest.mark.slow

CELL = {"temperature": "low", "question_shard": "drop-01"}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(root=str(tmp_path))
    make_small_lake(lake)
    return lake


@pytest.fixture
def warehouse(lake: Lake) -> DuckDBPyConnection:
    return open_warehouse(Path(lake.root))


def sentences(lake: Lake, shard: str, **classes: list[str]) -> None:
    """Replace a partition's sentences; of each response the classes in order."""
    rows = [
        {"response_id": name, "sentence_index": index, "sentence_class": kind}
        for name, kinds in classes.items()
        for index, kind in enumerate(kinds)
    ]
    place = {"temperature": "low", "question_shard": shard}
    lake.write("sentence_provenance", filled("sentence_provenance", *rows), place)


def test_likelihood_is_the_geometric_mean_of_the_token_probabilities(
    warehouse: DuckDBPyConnection,
) -> None:
    found = picture_data.likelihoods(warehouse, {})
    # r1 has logprobs -0.5 -0.5 -0.5, r2 -1 -2, r4 -0.25; r3 has none.
    assert sorted(found["low"]) == pytest.approx([math.exp(-1.5), math.exp(-0.5)])
    assert found["high"] == pytest.approx([math.exp(-0.25)])
    assert set(picture_data.likelihoods(warehouse, CELL)) == {"low"}


def test_lengths_by_temperature_and_checkpoint(warehouse: DuckDBPyConnection) -> None:
    assert sorted(picture_data.response_lengths(warehouse, {})["low"]) == [3, 3, 9]
    assert sorted(picture_data.response_lengths(warehouse, CELL)["low"]) == [3, 3]
    assert sorted(picture_data.filtered_lengths(warehouse, {})["low"]) == [20, 30]
    assert picture_data.evaluation_lengths(warehouse)["base"].tolist() == [10, 11, 12]


def test_candidates_are_split_by_what_became_of_them(warehouse: DuckDBPyConnection) -> None:
    low = picture_data.candidates(warehouse, "low", "n_student_tokens")
    assert {name: sorted(values) for name, values in low.items()} == {
        "all": [20, 30], "selected": [30], "random control": [], "longest control": [],
    }  # fmt: skip
    high = picture_data.candidates(warehouse, "high", "n_student_tokens")
    assert [values.tolist() for values in high.values()] == [[10], [], [10], []]


def test_class_shares_by_hand(lake: Lake) -> None:
    for partition in lake.partitions("sentence_provenance"):
        lake.path("sentence_provenance", partition).unlink()
    sentences(lake, "drop-01", a=["teacher", "common"])
    # The same id in another shard is another answer.
    sentences(lake, "drop-02", b=["teacher", "student", "unscored", "common"], a=["common"])
    warehouse = open_warehouse(Path(lake.root))
    shares = picture_data.class_shares(warehouse, CELL, n_bins=2)
    assert {name: values.tolist() for name, values in shares.items()} == {
        "teacher": [1, 0], "common": [0, 1], "student": [0, 0]
    }  # fmt: skip
    together = picture_data.class_shares(warehouse, {"temperature": "low"}, n_bins=2)
    # First halves: teacher, teacher, student. Second halves: shared three times (one unscored).
    assert together["teacher"] == pytest.approx([2 / 3, 0])
    assert together["student"] == pytest.approx([1 / 3, 0])
    assert together["common"] == pytest.approx([0, 1])


def test_class_shares_against_a_slow_count(lake: Lake) -> None:
    rng = np.random.default_rng(3)
    kinds = ["teacher", "common", "student", "unscored"]
    answers = {f"x{i}": rng.choice(kinds, rng.integers(1, 40)).tolist() for i in range(30)}
    sentences(lake, "drop-01", **answers)
    counts = {name: np.zeros(10) for name in kinds}
    for classes in answers.values():
        for index, kind in enumerate(classes):
            counts[kind][min(int((index + 0.5) / len(classes) * 10), 9)] += 1
    scored = counts["teacher"] + counts["common"] + counts["student"]
    shares = picture_data.class_shares(open_warehouse(Path(lake.root)), CELL)
    for name, values in shares.items():
        assert values == pytest.approx(counts[name] / scored)


def test_class_shares_of_right_and_of_wrong_answers(lake: Lake) -> None:
    warehouse = open_warehouse(Path(lake.root))
    assert picture_data.judged_answers(warehouse, CELL) == {True: 1, False: 1}
    high = {"temperature": "high"}
    assert picture_data.judged_answers(warehouse, high) == {}  # r4 was not judged
    # r1, right, is teacher and shared; r2, wrong, student and unscored.
    right = picture_data.class_shares(warehouse, CELL, n_bins=2, is_correct=True)
    assert {name: values.tolist() for name, values in right.items()} == {
        "teacher": [1, 0], "common": [0, 1], "student": [0, 0]
    }  # fmt: skip
    wrong = picture_data.class_shares(warehouse, {}, n_bins=2, is_correct=False)
    assert wrong["student"][0] == 1
    assert np.isnan([values[1] for values in wrong.values()]).all()


def test_the_same_id_in_another_partition_is_another_answer_for_right_and_wrong(
    lake: Lake,
) -> None:
    row = {"response_id": "r1", "is_correct": False}
    lake.write("filtered_responses", filled("filtered_responses", row),
               {"temperature": "low", "question_shard": "drop-02"})  # fmt: skip
    sentences(lake, "drop-02", r1=["student"])
    shares = picture_data.class_shares(
        open_warehouse(Path(lake.root)), {"temperature": "low"}, n_bins=1, is_correct=True
    )
    assert {name: values.tolist() for name, values in shares.items()} == {
        "teacher": [0.5], "common": [0.5], "student": [0]
    }  # fmt: skip


def test_a_bin_without_scored_sentences_has_no_share(lake: Lake) -> None:
    sentences(lake, "drop-01", a=["common"])
    shares = picture_data.class_shares(open_warehouse(Path(lake.root)), CELL, n_bins=3)
    assert [np.isnan(values).tolist() for values in shares.values()] == [[True, False, True]] * 3


def test_a_logprob_that_is_not_finite_gives_no_finite_likelihood(lake: Lake) -> None:
    row = {"response_id": "r9", "logprobs": [-1.0, float("nan")]}
    lake.write("teacher_responses", filled("teacher_responses", row), CELL)
    found = picture_data.likelihoods(open_warehouse(Path(lake.root)), CELL)
    assert not np.isfinite(found["low"]).any()


def rollouts(lake: Lake, shard: str, *rows: tuple[int, bool], broken: int = 0) -> None:
    """Replace a shard's rollouts: length of the teacher's answer, cut off; some cannot be used."""
    rules = [{"rule": "no_text", "evidence": "?"}]
    table = filled(
        "student_rollouts",
        *[{"n_teacher_response_tokens": n, "is_truncated": cut} for n, cut in rows],
        *[{"n_teacher_response_tokens": 1, "is_truncated": True, "broken_rules": rules}] * broken,
    )
    lake.write("student_rollouts", table, {"question_shard": shard})


def test_cut_off_rates_by_hand(lake: Lake) -> None:
    rollouts(lake, "drop-01", (10, False), (20, True), (30, False), (40, True), broken=3)
    rollouts(lake, "drop-02", (50, True), (60, True))
    warehouse = open_warehouse(Path(lake.root))
    rates = picture_data.cut_off_rates(warehouse, {"question_shard": "drop-01"}, n_bins=2)
    assert rates.shortest.tolist() == [10, 30]
    assert rates.longest.tolist() == [20, 40]
    assert rates.rollouts.tolist() == [2, 2]
    assert rates.share.tolist() == [0.5, 0.5]
    assert picture_data.cut_off_rates(warehouse, {}, n_bins=3).share.tolist() == [0.5, 0.5, 1.0]


def test_equal_lengths_are_in_one_bin_and_nothing_is_lost(lake: Lake) -> None:
    rollouts(lake, "drop-01", *[(7, i < 3) for i in range(12)])
    rates = picture_data.cut_off_rates(
        open_warehouse(Path(lake.root)), {"question_shard": "drop-01"}
    )
    assert (rates.shortest.tolist(), rates.longest.tolist()) == ([7], [7])
    assert (rates.rollouts.tolist(), rates.share.tolist()) == ([12], [0.25])
    rng = np.random.default_rng(2)
    lengths = rng.integers(1, 60, 500).tolist()
    rollouts(lake, "drop-01", *[(n, n > 30) for n in lengths])
    rates = picture_data.cut_off_rates(
        open_warehouse(Path(lake.root)), {"question_shard": "drop-01"}
    )
    assert rates.rollouts.sum() == 500
    assert (rates.share * rates.rollouts).sum() == pytest.approx(sum(n > 30 for n in lengths))
    assert (rates.longest[:-1] < rates.shortest[1:]).all()
    assert np.diff(rates.share).min() >= 0


def test_without_rollouts_there_are_no_rates(tmp_path: Path) -> None:
    assert len(picture_data.cut_off_rates(open_warehouse(tmp_path), {}).share) == 0
