"""The shards in the lake as curation sees them, also where some of it is gone or damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.checked_lake import put

from dasd_assets.questions.curation.stored_shards import shard_to_curate
from resources.lake.lake import Lake
from resources.lake.table import ContractError


def place(shard: str) -> dict[str, str]:
    return {"question_shard": shard}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Three shards that were curated in the order of their names."""
    lake = Lake(root=str(tmp_path))
    for order, shard in enumerate(("a", "b", "c"), 1):
        about = {"question_id": f"q-{shard}"}
        put(lake, "raw_questions", place(shard), about)
        put(lake, "question_signatures", place(shard), {**about, "curation_order": order})
        put(lake, "questions", place(shard), about)
    return lake


def orders(lake: Lake, shard: str) -> tuple[int, dict[str, int]]:
    this, others = shard_to_curate(lake, place(shard))
    return this.order, {other.name: other.order for other in others}


def damage(lake: Lake, table: str, shard: str, is_gone: bool) -> None:
    file = lake.path(table, place(shard))
    if is_gone:
        file.unlink()
    else:
        os.truncate(file, file.stat().st_size - 1)


def test_a_shard_keeps_its_place_and_a_new_one_stands_behind_all(lake: Lake) -> None:
    assert orders(lake, "a") == (1, {"b": 2, "c": 3})
    assert orders(lake, "d") == (4, {"a": 1, "b": 2, "c": 3})


@pytest.mark.parametrize("is_gone", [True, False])
def test_without_its_signatures_a_shard_takes_the_place_that_is_free(
    lake: Lake, is_gone: bool
) -> None:
    damage(lake, "question_signatures", "b", is_gone)
    assert orders(lake, "b") == (2, {"a": 1, "c": 3})
    assert orders(lake, "a") == (1, {"b": 0, "c": 3})
    _, others = shard_to_curate(lake, place("a"))
    assert list(others[0].signatures()) == []
    assert [batch["question_id"].to_pylist() for batch in others[0].questions()] == [["q-b"]]


@pytest.mark.parametrize("is_gone", [True, False])
def test_two_damaged_shards_are_curated_again_one_after_the_other(
    lake: Lake, is_gone: bool
) -> None:
    for shard in ("a", "b"):
        damage(lake, "questions", shard, is_gone)
    assert orders(lake, "a") == (1, {"c": 3})
    put(lake, "questions", place("a"), {"question_id": "q-a"})
    assert orders(lake, "b") == (2, {"a": 1, "c": 3})


def test_without_raw_questions_nothing_is_curated(lake: Lake) -> None:
    damage(lake, "raw_questions", "a", is_gone=False)
    shard, _ = shard_to_curate(lake, place("a"))
    with pytest.raises(ContractError, match=r"raw_questions a: .* bytes where"):
        list(shard.rows())
