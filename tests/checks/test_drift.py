"""Drift: against the last materialization, else against partitions of the same kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.checked_lake import CELL, Rows, check_results, failed, fill, good_rows, put

from checks.checked_partition import CheckedPartition
from checks.drift import Summary, drift
from dasd_assets.profile.data_contracts import CONTRACTS
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=str(tmp_path / "lake"))


def measured(
    lake: Lake, shard: str, summary: Summary, temperature: str = "low"
) -> dict[str, float]:
    cell = {"temperature": temperature, "question_shard": shard}
    with CheckedPartition(lake, cell) as data:
        return dict(drift(data, "student_scores", summary).values)


def made(lake: Lake, shard: str, temperature: str = "low") -> None:
    """Materialize the partition (anew)."""
    put(lake, "student_scores", {"temperature": temperature, "question_shard": shard})


def test_the_first_partition_has_nothing_to_compare_with(lake: Lake) -> None:
    made(lake, "a")
    assert measured(lake, "a", Summary(100, {"tokens": 5.0}, {"kept": 0.5})) == {}


def test_a_new_materialization_is_compared_with_the_one_before(lake: Lake) -> None:
    made(lake, "a")
    measured(lake, "a", Summary(100, {"tokens": 10.0}, {"kept": 0.5}))
    made(lake, "a")
    changed = Summary(50, {"tokens": 15.0}, {"kept": 0.8, "new": 0.25})
    expected = {"n_rows": 0.5, "tokens": 0.5, "kept": pytest.approx(0.3), "new": 0.25}
    assert measured(lake, "a", changed) == expected
    # The same file again: still compared with the one before.
    assert measured(lake, "a", changed) == expected
    made(lake, "a")
    assert set(measured(lake, "a", changed).values()) == {0.0}


def test_a_new_shard_is_compared_with_others_of_its_temperature(lake: Lake) -> None:
    for shard, tokens in (("a", 10.0), ("b", 20.0), ("c", 12.0)):
        made(lake, shard)
        measured(lake, shard, Summary(100, {"tokens": tokens}))
    made(lake, "a", "high")
    measured(lake, "a", Summary(100, {"tokens": 1_000.0}), "high")
    made(lake, "d")
    # Another shard may be of any size: rows are not compared.
    assert measured(lake, "d", Summary(5_000, {"tokens": 18.0})) == {"tokens": 0.5}


def test_values_that_are_not_finite_are_not_compared(lake: Lake) -> None:
    made(lake, "a")
    measured(lake, "a", Summary(100, {"tokens": 10.0, "p": float("nan")}))
    made(lake, "a")
    changed = Summary(100, {"tokens": float("inf"), "p": 0.5})
    assert measured(lake, "a", changed) == {"n_rows": 0.0}


def test_few_rows_say_little(lake: Lake) -> None:
    made(lake, "a")
    measured(lake, "a", Summary(19, {"tokens": 10.0}))
    made(lake, "a")
    assert measured(lake, "a", Summary(100, {"tokens": 90.0})) == {}
    made(lake, "b")
    assert measured(lake, "b", Summary(19, {"tokens": 1.0})) == {}


def halved(rows: Rows) -> Rows:
    return {table: content[: max(len(content) // 2, 1)] for table, content in rows.items()}


@pytest.mark.parametrize(
    "asset", [a for a, contracts in CONTRACTS.items() if any(c.name == "drift" for c in contracts)]
)
def test_every_asset_notices_that_it_has_half_the_rows(
    lake: Lake, asset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checks.drift.FEWEST_ROWS", 10)  # there are 12 continuations
    fill(lake, good_rows())
    assert failed(check_results(lake, asset)) == set()
    fill(lake, good_rows())
    again = check_results(lake, asset)["drift"]
    assert again.passed
    assert set(again.metadata["observed"].value.values()) == {0.0}
    fill(lake, halved(good_rows()))
    evaluation = check_results(lake, asset)["drift"]
    assert not evaluation.passed
    assert evaluation.severity.value == "WARN"
    assert "n_rows: 0.5" in str(evaluation.metadata["failing_examples"].value)
    assert evaluation.metadata["details"].value["now"]


def test_the_summary_lies_beside_the_tables(lake: Lake) -> None:
    made(lake, "s")
    measured(lake, "s", Summary(1))
    assert Path(
        lake.root, "_summaries", "student_scores", *(f"{k}={v}" for k, v in CELL.items()),
        "summary.json",
    ).is_file()  # fmt: skip
    assert lake.partitions("student_scores") == [CELL]
